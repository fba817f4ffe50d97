"""Last fit of profiles: strengths, then what systems did near prototypes, means of clusters of training queries.

It runs once, after the gradient training, which shapes the heads:
1. k-means in the space of the heads' shared layer;
2. strengths of systems and the cost of a level (`train.export.strength`): all that is said far from the prototypes;
3. what is left is a penalised logistic regression on the kernel to the means (kernel logistic regression, approximated
   by Nystroem's method), on the probabilities of categories, and on the named axes; all but these fade with the
   distance to the nearest prototype;
4. reduction of its weights to L coordinates;
5. on validation rows, the distances that familiarity is measured by, what a level costs, then the weights of the
   network's own profiles and of the regression under each protocol.
Axes: N training rows, V validation rows, H shared layer, S systems, P protocols, A features, L likeness.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from router.network.torch_network import Prototypes, QueryHeads, RouterNetwork
from router.network.vectors import CATEGORY_SCALE, MIDDLE
from train.data.published_scores import PublishedScores
from train.export.prototypes import nystroem, place_prototypes, reduced
from train.export.strength import Answers, Strength, fit_strength

PENALTY = 2.0  # the precision of the weights' normal prior
STEPS = 60  # of L-BFGS; the losses are convex
TRUST = (0.5, 0.5, 0.0)  # without validation rows: weights of the gradient's profiles and the regression, and a shift
TRUST_STRENGTH = 2.5  # precision of their prior


@dataclass(frozen=True)
class Rows:
    """Training or validation rows as the network has them; a score counts where it is seen."""

    hidden: Tensor  # (N, H)
    benchmark: Tensor  # (N,), numbers from 0
    score: Tensor  # (N, S) in [0, 1]
    seen: Tensor  # (N, S)

    def answers(self, heads: QueryHeads) -> Answers:
        """The rows with the levels that `heads` read."""
        return Answers(heads.level(self.hidden)[:, 0], self.benchmark, self.score, self.seen)


@torch.no_grad()
def fit_profiles(network: RouterNetwork, train: Rows, val: Rows, published: PublishedScores, seed: int = 0) -> None:
    """Fit the network's prototypes and its profiles (see the module); the network must have prototypes.

    Rows without any score, those that have labels alone too, are no neighbours.
    """
    heads, table, size = network.heads, network.profiles, network.size
    assert isinstance(heads.prototypes, Prototypes)
    place_prototypes(heads.prototypes, train.hidden[train.seen.any(1)], seed)
    heads.prototypes.fit_familiarity(val.hidden[val.seen.any(1)])
    answers, judged = train.answers(heads), val.answers(heads)
    found = fit_strength(answers, table.protocol, size.protocols, published)
    found = Strength(found.strength, fit_strength(judged, table.protocol, size.protocols, published).cost)

    features, root = nystroem(heads.prototypes, train.hidden)
    learned = heads.read(train.hidden).vector[:, : size.learned]
    centre = learned.mean(dim=0)

    def predictors(features: Tensor, hidden: Tensor) -> Tensor:
        learned = heads.read(hidden).vector[:, : size.learned]
        return torch.cat([features, constancy(heads, hidden), learned - centre], dim=1)

    far = found.logits(answers.level, table.protocol)
    weight = by_protocol(predictors(features, train.hidden), train, far, table.protocol, size.protocols)
    far = found.logits(judged.level, table.protocol)
    near = predictors(heads.prototypes.features(val.hidden) @ root, val.hidden) @ weight
    own = gradient_part(network, val.hidden, found, centre)
    shift = constancy(heads, val.hidden).expand_as(own)
    share = protocol_trust(torch.stack([own, near, shift], dim=2), val, far, table.protocol, size.protocols)
    fold(network, found, share, centre, weight, features, root)


def constancy(heads: QueryHeads, hidden: Tensor) -> Tensor:
    """What a system's constant is multiplied by (N, 1): the familiarity, which is the sum of what categories add.

    1 without categories: then nothing of the query vector is the familiarity alone.
    """
    assert isinstance(heads.prototypes, Prototypes)
    return heads.familiarity(hidden)[:, None] if heads.size.categories else torch.ones(len(hidden), 1)


def gradient_part(network: RouterNetwork, hidden: Tensor, found: Strength, centre: Tensor) -> Tensor:
    """By how much (V, S) the gradient's logits differ from `Strength.logits`; see `constancy` for what fades."""
    table, heads = network.profiles, network.heads
    vector, level = heads.read(hidden).vector[:, : network.size.learned], heads.level(hidden)
    weight, cost = table.weight[:, : network.size.learned], found.cost[table.protocol]
    difficulty = (heads.gain * (level - MIDDLE) + heads.shift + heads.deviation(hidden))[:, table.protocol]
    constant = constancy(heads, hidden) * (table.bias + weight @ centre - found.strength)
    fading = heads.familiarity(hidden)[:, None] * (difficulty - cost * (level - MIDDLE))
    return (vector - centre) @ weight.T + constant - fading


def fold(
    network: RouterNetwork,
    found: Strength,
    share: Tensor,
    centre: Tensor,
    weight: Tensor,
    features: Tensor,
    root: Tensor,
) -> None:
    """Write the sum of all parts into heads and profiles: `Strength.logits` + the parts of `share` (P, 3)."""
    heads, table, size = network.heads, network.profiles, network.size
    assert isinstance(heads.prototypes, Prototypes)
    trust, usual, shift = share[table.protocol].unbind(1)  # (S,) each
    kernel, constant, learned = weight.split([features.shape[1], 1, size.learned])
    coordinates, rows = reduced(features, kernel, size.likeness - (size.categories > 0))
    coordinates = root @ coordinates
    own = table.weight[:, : size.learned]
    constant = trust * (table.bias + own @ centre - found.strength) + usual * constant[0] + shift
    likeness = usual[:, None] * rows
    table.bias.copy_(found.strength)
    if size.categories:  # see `constancy`
        fading = torch.zeros(len(coordinates), 1)
        fading[-size.categories :] = 1 / CATEGORY_SCALE
        coordinates = torch.cat([coordinates, fading], dim=1)
        likeness = torch.cat([likeness, constant[:, None]], dim=1)
    else:
        table.bias.add_(constant)
    heads.prototypes.coordinates.copy_(coordinates)
    table.weight[:, size.learned :] = likeness
    table.weight[:, : size.learned] = trust[:, None] * own + usual[:, None] * learned.T
    table.bias.sub_(table.weight[:, : size.learned] @ centre)

    trusted, steeper = share[:, 0], heads.gain - found.cost
    bias = heads.deviation.bias + steeper * (heads.level.bias - MIDDLE) + heads.shift
    heads.deviation.weight.copy_(trusted[:, None] * (heads.deviation.weight + steeper[:, None] * heads.level.weight))
    heads.deviation.bias.copy_(trusted * bias)
    heads.gain.copy_(found.cost)
    heads.shift.zero_()


def by_protocol(features: Tensor, rows: Rows, offset: Tensor, protocol: Tensor, protocols: int) -> Tensor:
    """Weights (A, S) of `logistic_regression` on `features` (N, A), on the rows with answers of each protocol."""
    weight = torch.zeros(features.shape[1], len(protocol))
    for group in range(protocols):
        columns = torch.where(protocol == group)[0]
        own = torch.where(rows.seen[:, columns].any(1))[0]
        score, seen, far = (part[own][:, columns] for part in (rows.score, rows.seen, offset))
        weight[:, columns] = logistic_regression(features[own], score, seen, far, PENALTY)
    return weight


def logistic_regression(
    features: Tensor, score: Tensor, seen: Tensor, offset: Tensor, penalty: float, prior: Tensor | None = None
) -> Tensor:
    """Weights (A, S) for the scores (N, S) of systems on `features` (N, A), over the cells in `seen`.

    Minimises the summed cross-entropy of logits that `offset` (N, S) is added to, plus `penalty` / 2 times the squared
    distance to `prior` (A, S), by default 0.
    """
    score, counts = torch.where(seen, score, 0.0), seen.to(offset)
    prior = torch.zeros(features.shape[1], score.shape[1]) if prior is None else prior
    with torch.enable_grad():
        weight = prior.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([weight], max_iter=STEPS, history_size=8, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            logit = offset + features @ weight
            cells = F.binary_cross_entropy_with_logits(logit, score, weight=counts, reduction="sum")
            total = cells + penalty / 2 * (weight - prior).square().sum()
            total.backward()
            return total

        optimizer.step(loss)
    return weight.detach()


def protocol_trust(parts: Tensor, rows: Rows, offset: Tensor, protocol: Tensor, protocols: int) -> Tensor:
    """Per protocol (P, 3): the weights of the logits `parts` (V, S, 3) beside `offset` (V, S).

    A logistic regression of the scores of validation rows, drawn to `TRUST`.
    """
    prior = torch.tensor(TRUST)[:, None]
    share = prior.T.repeat(protocols, 1)
    for group in range(protocols):
        cells = rows.seen & (protocol == group)
        score, seen, far = (part[cells][:, None] for part in (rows.score, rows.seen, offset))
        share[group] = logistic_regression(parts[cells], score, seen, far, TRUST_STRENGTH, prior)[:, 0]
    return share
