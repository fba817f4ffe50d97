"""Fit of prototypes: means of clusters of training queries, and the scores of systems near them.

It runs once, after the gradient training:
1. k-means in the space of the heads' shared layer;
2. a penalised logistic regression of all outcomes on the kernel to the means (kernel logistic regression, approximated
   by Nystroem's method) and on the probabilities of categories, which the gradient training has learned;
3. reduction of its weights to L coordinates;
4. on validation rows, the distances that familiarity is measured by, then the weights of network and prototypes under
   each protocol.
Axes: N training rows, V validation rows, H shared layer, S systems, T prototypes, G categories, L likeness.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn import functional as F

from router.network.torch_network import Prototypes, RouterNetwork
from train.export.calibration import fit_affine

FEWEST = 5  # queries in a cluster whose mean may be kept
PENALTY = 2.0  # the precision of the weights' normal prior
LEAST_VARIANCE = 1e-6  # directions of the kernel with less variance are left out
STEPS = 60  # of L-BFGS; the loss is convex
TRUST = (0.5, 0.5, 0.0)  # weights of network and prototypes, and a shift, without validation rows
TRUST_STRENGTH = 10.0  # observations by which a protocol is drawn to TRUST


@torch.no_grad()
def fit_prototypes(
    network: RouterNetwork,
    train: tuple[Tensor, Tensor, Tensor],
    val: tuple[Tensor, Tensor, Tensor],
    seed: int = 0,
) -> None:
    """Fit the network's prototypes and fold them into its profiles.

    `train` and `val` hold the shared layer (N, H), scores (N, S) in [0, 1] and the mask (N, S) of observed scores.
    Training rows without any outcome, those that have labels alone too, help to place the prototypes.
    """
    heads, table, size = network.heads, network.profiles, network.size
    assert isinstance(heads.prototypes, Prototypes)
    hidden, score, seen = train
    place_prototypes(heads.prototypes, hidden, seed)
    features, root = nystroem(heads.prototypes, hidden)
    weight, bias = logistic_regression(features, score, seen, PENALTY)
    coordinates, rows = reduced(features, weight, size.likeness)
    heads.prototypes.coordinates.copy_(root @ coordinates)

    hidden, score, seen = val
    heads.prototypes.fit_familiarity(hidden)
    base = table.logits(heads.read(hidden).vector)  # the likeness columns still weigh nothing
    near = heads.prototypes(hidden) @ rows.T + bias
    share = protocol_trust(base, near, torch.where(seen, score, torch.nan), table.protocol, size.protocols)
    own = torch.from_numpy(share).to(table.bias)[table.protocol]  # (S, 3)
    table.calibrate(own[:, 0], own[:, 2])
    table.weight[:, size.learned : size.columns] = own[:, 1:2] * rows
    table.bias.add_(own[:, 1] * bias)


def place_prototypes(prototypes: Prototypes, hidden: Tensor, seed: int) -> None:
    """Put the prototypes at the means of clusters of `hidden` (N, H), after centring it.

    A cluster of fewer than FEWEST queries gets none, so no prototype is a query; unused prototypes stay at 0.
    """
    centre = hidden.mean(dim=0)
    unit = F.normalize(hidden - centre, dim=1).numpy()
    most = min(len(prototypes.points), max(1, len(unit) // FEWEST))
    clusters = MiniBatchKMeans(most, n_init=1, random_state=seed, batch_size=4096, max_iter=20).fit(unit)
    sizes = np.bincount(clusters.labels_, minlength=most)
    means = torch.from_numpy(clusters.cluster_centers_[sizes >= FEWEST]).float()
    prototypes.centre.copy_(centre)
    prototypes.points.zero_()  # a point at 0 is equally near to all queries, so it has no effect
    prototypes.points[: len(means)] = F.normalize(means, dim=1)


def nystroem(prototypes: Prototypes, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, T' + G), and the map (T + G, T' + G) to them from `prototypes.features`.

    Inner products of the first T' approximate the kernel between queries: the map is the inverse root of the kernel
    between the prototypes. The last G are the categories' as they are.
    """
    between = prototypes.kernel(prototypes.points + prototypes.centre).double()
    variance, directions = torch.linalg.eigh(between)
    kept = variance > LEAST_VARIANCE
    root = (directions[:, kept] * variance[kept].rsqrt()).float()
    root = torch.block_diag(root, torch.eye(len(prototypes.coordinates) - len(root)))
    return prototypes.features(hidden) @ root, root


def logistic_regression(features: Tensor, score: Tensor, seen: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights (A, S) and biases (S,) for the scores (N, S) of systems on `features` (N, A), over the cells in `seen`.

    Minimises the summed cross-entropy plus `penalty` / 2 times the squared weights; biases are free.
    """
    score = torch.where(seen, score, 0.0)
    usual = torch.logit((score.sum(0) + 1) / (seen.sum(0) + 2))
    start = torch.zeros(features.shape[1] + 1, score.shape[1])
    with torch.enable_grad():
        both = start.requires_grad_()
        optimizer = torch.optim.LBFGS([both], max_iter=STEPS, history_size=8, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            logit = torch.addmm(both[-1] + usual, features, both[:-1])
            cells = F.binary_cross_entropy_with_logits(logit, score, weight=seen.to(logit), reduction="sum")
            total = cells + penalty / 2 * both[:-1].square().sum()
            total.backward()
            return total

        optimizer.step(loss)
    return both.detach()[:-1], both.detach()[-1] + usual


def reduced(features: Tensor, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (A, L) and (S, L) of `weight` (A, S) whose logits on `features` (N, A) differ least from its own."""
    _, scale, right = torch.linalg.svd(features @ weight, full_matrices=False)
    rows = right[:rank].T  # (S, L), orthonormal
    coordinates = weight @ rows
    deviation = (scale[:rank] / len(features) ** 0.5).clamp_min(1e-12)  # every coordinate gets a mean square of 1
    missing = rank - rows.shape[1]
    return F.pad(coordinates / deviation, (0, missing)), F.pad(rows * deviation, (0, missing))


def protocol_trust(base: Tensor, near: Tensor, score: Tensor, protocol: Tensor, protocols: int) -> NDArray[np.float64]:
    """Per protocol (P, 3): the weights of the logits `base` and `near` (V, S), and a shift.

    A logistic regression of the validation scores (V, S), NaN without an outcome, drawn to `TRUST`.
    """
    share = np.tile(np.array(TRUST), (protocols, 1))
    for group in range(protocols):
        columns = protocol == group
        cells = ~score[:, columns].isnan()
        logits = np.stack([part[:, columns][cells].double().numpy() for part in (base, near)], axis=1)
        share[group] = fit_affine(logits, score[:, columns][cells].double().numpy(), TRUST, TRUST_STRENGTH)
    return share
