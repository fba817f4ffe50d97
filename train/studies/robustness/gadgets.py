"""Confounder gadgets (Shafran et al., 2501.01818): one suffix that makes every query's route dearer, guard off and on.

It is found on training queries and tried on others. White-box: the gradient of the aim over the encoder's word
embeddings proposes tokens for one place at a time (HotFlip, Ebrahimi et al., 1712.06751); the router's own decisions on
the changed text accept or reject them. Axes: B queries, M candidates, V vocabulary, E hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from router.arrays import host, like
from router.encoding.backend import as_torch
from router.encoding.form import with_form
from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from router.network import scoring
from router.network.torch_network import RouterNetwork
from router.options import CHARS_PER_TOKEN
from router.policy.candidates import gather_candidates
from router.policy.constraints import cost_weights
from router.pools.pool import Pool
from router.routing.router import Router
from train.studies.robustness.flips import Sample, cost_shift

MAX_TOKENS = 20
START = "the"  # repeated, the start of a search
TEMPERATURE = 0.02  # of the soft choice in `expected_cost`, in utility
CONSIDERED = 8  # tokens considered per proposal: some rows of tokens do not survive a round trip through text

Aim = Callable[[Tensor, Tensor], Tensor]  # utility and cost (B, M) to the aim (B,) that the gadget shall raise
AIMS = ("dearest", "cost")  # raise the most expensive model's lead, or the cost of the choice


@dataclass(frozen=True)
class Search:
    """Length and width of a search for a gadget."""

    steps: int = 500
    tokens: int = MAX_TOKENS  # of the gadget
    batch: int = 8  # queries per step
    proposals: int = 8  # texts tried per step at most; the first better one is kept
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("steps", 1, 10**6),
            ("tokens", 1, MAX_TOKENS),
            ("batch", 1, 10**4),
            ("proposals", 1, 10**4),
        ):
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"gadget {name} must lie in {least} to {most}, got {getattr(self, name)}")


def lead(utility: Tensor, target: int) -> Tensor:
    """Lead (B,) of column `target` over the best other one, by utilities (B, M).

    >>> lead(torch.tensor([[0.5, 0.75, 0.625]]), 2)
    tensor([-0.1250])
    """
    others = utility.clone()
    others[:, target] = -torch.inf
    return utility[:, target] - others.amax(dim=1)


def expected_cost(utility: Tensor, cost: Tensor) -> Tensor:
    """Cost (B,) of a choice softened by `TEMPERATURE`, by utilities and costs (B, M).

    >>> expected_cost(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[1.0, 3.0, 9.0]]))
    tensor([2.])
    """
    return (torch.softmax(utility / TEMPERATURE, dim=1) * cost).sum(dim=1)


class GadgetSearch:
    """One search on one pool at one dial; `find` runs it."""

    def __init__(self, router: Router, pool: Pool, dial: float, aim: Aim, search: Search, guard: bool = False) -> None:
        self.router, self.pool, self.dial, self.aim, self.search, self.guard = router, pool, dial, aim, search, guard
        network = RouterNetwork.of(router.network)  # the router's own may be numpy's, without gradients
        known = replace(router.checkpoint, network=network)
        self.heads = network.heads
        self.candidates = gather_candidates(pool, known.all_learned, known.all_systems, known.all_models)
        self.encoder = as_torch(router.encoder)
        self.tokenizer = self.encoder.described.tokenizer
        self.table = word_embeddings(self.encoder)

    def find(self, texts: Sequence[str], progress: bool = False) -> str:
        """A suffix that raises the mean aim over mini-batches of `texts`.

        With `guard` the router's guard is on during the search, which then looks for a suffix that passes it.
        """
        search, generator = self.search, np.random.default_rng(self.search.seed)
        ids = self.ids(" ".join([START] * search.tokens))[: search.tokens]
        for step in tqdm(range(search.steps), desc=f"gadget for {self.pool.name}", unit="step", disable=not progress):
            batch = [texts[i] for i in generator.choice(len(texts), min(search.batch, len(texts)), replace=False)]
            best = self.value(batch, self.tokenizer.decode(ids))
            for changed in self.proposals(batch, ids, step % len(ids)):
                if self.value(batch, self.tokenizer.decode(changed)) > best:
                    ids = changed
                    break
        return self.tokenizer.decode(ids)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text` as the router reads it, without special tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def value(self, texts: Sequence[str], gadget: str) -> float:
        """Mean aim over `texts` with the gadget, by the router's decisions."""
        decisions = self.router.route(
            [with_suffix(text, gadget) for text in texts],
            pool=self.pool,
            dial=self.dial,
            top=len(self.pool.candidates),
            guard=self.guard,
        )
        column = {name: m for m, name in enumerate(self.pool.ids)}
        cost = torch.zeros(len(texts), len(column))
        utility = torch.full_like(cost, -torch.inf)  # models that a constraint excludes keep it
        for row, decision in enumerate(decisions):
            for each in decision.alternatives:
                utility[row, column[each.model]], cost[row, column[each.model]] = each.utility, each.cost_usd
        return float(self.aim(utility, cost).mean())

    def proposals(self, texts: Sequence[str], ids: list[int], place: int) -> list[list[int]]:
        """Variants of `ids` with another token at `place`, best first; each survives a trip through text."""
        gain = self.table.weight.detach() @ self.slope(texts, ids, place)  # (V,)
        found: list[list[int]] = []
        for token in gain.topk(min(len(gain), CONSIDERED * self.search.proposals)).indices.tolist():
            changed = [*ids[:place], token, *ids[place + 1 :]]
            if changed != ids and self.ids(self.tokenizer.decode(changed)) == changed:
                found.append(changed)
        return found[: self.search.proposals]

    def slope(self, texts: Sequence[str], ids: list[int], place: int) -> Tensor:
        """Gradient (E,) of the aim, summed over `texts`, by the word embedding of the gadget's token at `place`."""
        router, gadget = self.router, self.tokenizer.decode(ids)
        full = [with_suffix(text, gadget) for text in texts]
        rows = self.encoder.tokenize(full)
        words: list[Tensor] = []
        hook = self.table.register_forward_hook(lambda module, inputs, output: words.append(output.requires_grad_()))
        try:
            embedding = self.encoder(*self.encoder.collate(rows, router.device))
            query = self.heads(with_form(embedding, full, self.encoder.form))
        finally:
            hook.remove()
        cost = self.candidates.cost(
            query, torch.tensor([len(text) / CHARS_PER_TOKEN for text in full]).to(query.difficulty)
        )
        _, weight = cost_weights(self.dial, len(full), self.candidates.cost_range_usd)
        utility = scoring.utility(self.candidates.quality(query), cost, like(weight, cost))
        (slope,) = torch.autograd.grad(self.aim(utility, cost).sum(), words)
        places = [len(row) - self.encoder.suffix_tokens - len(ids) + place for row in rows]
        return slope[torch.arange(len(rows)), places].sum(dim=0)


def with_suffix(text: str, gadget: str) -> str:
    """The query with the gadget appended, as an attacker sends it."""
    return f"{text} {gadget}"


def word_embeddings(encoder: QueryEncoder) -> nn.Embedding:
    """The encoder's table of word embeddings (V, E)."""
    table: nn.Embedding = encoder.transformer.get_input_embeddings()  # type: ignore[operator]
    return table


def gadget_figures(
    router: Router,
    pool: Pool,
    sample: Sample,
    dial: float,
    aim: str,
    search: Search,
    adaptive: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """The gadget found for `aim` on the attacker's texts, and its effect on the sample, without and with the guard.

    `adaptive`: the attacker knows the guard and searches against it. Cost shifts are as in `flip_figures`.
    """
    predicted = host(router.predict(sample.texts, pool).cost_usd).astype(np.float64)
    costs = (predicted, sample.outcomes.realised_usd)
    dearest = int(predicted.mean(axis=0).argmax())
    raised: Aim = expected_cost if aim == "cost" else lambda utility, _: lead(utility, dearest)
    gadget = GadgetSearch(router, pool, dial, raised, search, guard=adaptive).find(sample.attacker, progress)
    attacked = [with_suffix(text, gadget) for text in sample.texts]
    before, _ = routes(router, pool, sample.texts, dial, guard=False)
    figures = {
        "gadget": gadget,
        "dearest": pool.ids[dearest],
        "dial": dial,
        "n": len(before),
        "to_dearest_before": float((before == dearest).mean()),
    }
    for name, guard in (("guard_off", False), ("guard_on", True)):
        after, flagged = routes(router, pool, attacked, dial, guard)
        shifts = [cost_shift(before, after, cost, router.candidates(pool).cost_range_usd) for cost in costs]
        figures[name] = {
            "to_dearest": float((after == dearest).mean()),
            "moved": float((after != before).mean()),
            "predicted_cost_shift": shifts[0],
            "realised_cost_shift": shifts[1],
            "flagged": float(flagged.mean()),
        }
    return figures


def wrongly_flagged(router: Router, pool: Pool, texts: Sequence[str], dial: float) -> float:
    """Share of ordinary `texts` that the guard flags."""
    return float(routes(router, pool, texts, dial, guard=True)[1].mean())


def routes(
    router: Router, pool: Pool, texts: Sequence[str], dial: float, guard: bool
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Columns (B,) of the models that the texts are routed to, and whether each decision is flagged (B,)."""
    decisions = router.route(texts, pool=pool, dial=dial, guard=guard, top=1)
    columns = [pool.ids.index(decision.model) for decision in decisions]
    return np.array(columns), np.array([decision.flagged is not None for decision in decisions])
