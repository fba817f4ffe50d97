"""A large pool's shortlist: the few candidates that are worth scoring for some queries, chosen by an index.

What hangs on the pool or on a request's demands alone is computed once: masks of who is admitted, samples, prices.
Chooses nobody: whoever is not on the list could not have been chosen, to the accuracy in docs/performance.md.
Axes: B queries, M candidates, k results.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, host, like, namespace
from router.errors import CheckpointError, counted_from
from router.index.candidate_index import CandidateIndex, SealedFile, choose_kind
from router.index.linear_utility import LEAST_WEIGHT, item_vectors, search_vectors, tangent_logit
from router.index.topk import only, top_k
from router.network import scoring
from router.network.vectors import QueryVectors
from router.policy.candidates import Candidates
from router.policy.constraints import Constraints

logger = logging.getLogger(__name__)

# Candidates from which a shortlist is faster than scoring all. Measured by scripts/bench/large_pools.py, two CPU cores:
# of 4,000 candidates 0.8 ms (all) against 0.6 (flat index), of 2,000 0.4 against 0.5.
INDEX_FROM = 4096
PROPOSED = 64  # candidates an index proposes for a query, and at least PROPOSED_PER_TOP for each one to be shown
PROPOSED_PER_TOP = 4
SAMPLE = 1024  # candidates that tell where utility is linearised
TIE = 1e-10  # utility per cost range, by which equal utilities are told apart
FREE_TIE = 1e-15  # USD per unit of quality, by which equal costs are where nothing else counts
CHUNK = 65_536  # candidates whose item vectors are made at once
REMEMBERED = 16  # different demands whose masks are kept


@dataclass(frozen=True)
class _Admitted:
    """Who meets a request's demands."""

    mask: NDArray[np.bool_] | None  # (M,); None: everyone
    few: Candidates | None  # all of them, where they are too few to need an index
    rows: NDArray[np.intp] | None  # (M',) of `few`
    sample: Candidates


class Shortlist:
    """Proposes candidates of one large pool."""

    def __init__(
        self, candidates: Candidates, protocols: int, wanted: str, device: str, saved: SealedFile | None = None
    ) -> None:
        """With an index of the kind `wanted`, one of `router.options.INDEX_CHOICES`: the one saved if it is
        of this pool."""
        self.candidates, self.protocols, self.wanted, self.device = candidates, protocols, wanted, device
        self.index: CandidateIndex | None = None  # None: all are scored exactly, a chunk at a time
        self._looking = threading.Lock()  # at what is remembered
        if wanted != "exact":
            self.index = self._load(saved) if saved is not None else None
            self.index = self.index or self._build()
        self._look_at_facts()

    def narrow(
        self,
        query: QueryVectors,
        input_tokens: Array,
        weight: NDArray[np.float64],
        demands: Constraints,
        top: int,
        attitude: float = 0.0,
    ) -> NDArray[np.int64]:
        """Rows (N,), ascending, among which each of B queries' `top` best admitted candidates are.

        `weight` (B,) is the cost weight of each, `attitude` as in `Candidates.quality`. NoCandidateError as
        `Constraints.admit`.
        """
        k = max(PROPOSED, PROPOSED_PER_TOP * top)
        needed = input_tokens.tolist() if demands.context_tokens is None else [demands.context_tokens] * len(weight)
        windows = np.searchsorted(self._windows, np.asarray(needed, np.float64))  # which of them is just wide enough
        proposed = [np.zeros(0, np.int64)]
        for window in np.unique(windows).tolist():
            mine = np.flatnonzero(windows == window)
            first = int(mine[0])
            with counted_from(first):
                admitted = self._admit(demands, window, needed[first], top)
            at = like(mine, self.candidates.protocol)
            asked = query.take(at), input_tokens[at], weight[mine]
            proposed.append(self._propose(*asked, admitted, k))
            if attitude:  # of which the index knows nothing: the best of those that it moves come too
                proposed.append(self._propose_unsure(*asked, admitted, k, attitude))
        return np.unique(np.concatenate(proposed))

    def change(self, candidates: Candidates, kept: Sequence[int]) -> None:
        """The pool is now `candidates`: the rows `kept` of before, ascending, and behind them new ones."""
        if self.index is not None:
            gone = np.setdiff1d(np.arange(len(self.candidates.facts)), kept)
            self.index.remove(gone.tolist())
            if len(candidates.facts) > len(kept):
                self.index.add(item_vectors(candidates.take(slice(len(kept), None)), self.protocols))
        self.candidates = candidates
        self._look_at_facts()

    def save(self, file: Path) -> None:
        """Write the index, if there is one."""
        if self.index is not None:
            self.index.save(file, self._fingerprint())

    def _look_at_facts(self) -> None:
        """What masks are made of; those of the pool as it was are forgotten."""
        self._window = self.candidates.windows
        self._windows = np.unique(np.append(self._window, np.inf))
        self._remembered: OrderedDict[tuple[Constraints, int], _Admitted] = OrderedDict()

    def _admit(self, demands: Constraints, window: int, needed: float, top: int) -> _Admitted:
        """Who may answer queries that need `needed` tokens, for which windows from the `window`-th are wide enough.

        Said once where they are fewer than the `top` that are to be shown.
        """
        key = (demands, window)
        with self._looking:
            if key in self._remembered:
                self._remembered.move_to_end(key)
                return self._remembered[key]
        mask = demands.admit_facts(self.candidates.facts) & (self._window >= self._windows[window])
        count = int(mask.sum())
        if not count:
            demands.admit(self.candidates.facts, [needed])  # raises, and says who removed whom
        if count < top:
            logger.warning("%d of %d models meet these demands, fewer than the %d asked for", count, len(mask), top)
        found = np.flatnonzero(mask)
        chosen = np.random.default_rng(0).choice(found, min(SAMPLE, count), replace=False)
        few = found if count < min(INDEX_FROM, len(mask)) else None
        admitted = _Admitted(
            None if count == len(mask) else mask,
            None if few is None else self.candidates.take(few),
            few,
            self.candidates.take(chosen),
        )
        with self._looking:
            self._remembered[key] = admitted
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return admitted

    def _propose(
        self, query: QueryVectors, input_tokens: Array, weight: NDArray[np.float64], admitted: _Admitted, k: int
    ) -> NDArray[np.int64]:
        """Rows, in any order, of the k best for each query."""
        if admitted.few is not None and admitted.rows is not None:
            return admitted.rows[_best(admitted.few, query, input_tokens, weight, k).clip(min=0)].ravel()
        if self.index is None:
            found = _best(self.candidates, query, input_tokens, weight, k, admitted.mask).ravel()
        else:
            tangent = tangent_logit(admitted.sample, query, input_tokens, weight)
            least = LEAST_WEIGHT / self.candidates.cost_range_usd
            search = search_vectors(query, input_tokens, weight, tangent, least)
            found = self.index.search(search, k, admitted.mask)[1].ravel()
        return found[found >= 0]

    def _propose_unsure(
        self,
        query: QueryVectors,
        input_tokens: Array,
        weight: NDArray[np.float64],
        admitted: _Admitted,
        k: int,
        attitude: float,
    ) -> NDArray[np.int64]:
        """Rows of the k best of the candidates whose quality hangs on the attitude."""
        rows = np.array(self.candidates.unsure, np.int64)
        if admitted.mask is not None:
            rows = rows[admitted.mask[rows]]
        if not len(rows):
            return rows
        some = self.candidates.take(rows)
        found = _best(some, query, input_tokens, weight, k, attitude=attitude).ravel()
        return rows[found[found >= 0]]

    def _build(self) -> CandidateIndex:
        count = len(self.candidates.facts)
        kind = choose_kind(self.wanted, count, self.device)
        logger.info("building an index of %d models (%s)", count, kind)

        def chunks() -> Iterator[Array]:
            for start in range(0, count, CHUNK):
                yield item_vectors(self.candidates.take(slice(start, start + CHUNK)), self.protocols)

        return CandidateIndex.build(chunks, self.candidates.profile.shape[1] + 1, kind, self.device)

    def _fingerprint(self) -> str:
        """What an index is built of, in 64 letters."""
        found = hashlib.sha256(str(self.protocols).encode())
        c = self.candidates
        for part in (c.profile, c.bias, c.log_tokens, c.protocol, c.price_in, c.price_out):
            found.update(np.ascontiguousarray(host(part)).data)
        return found.hexdigest()

    def _load(self, saved: SealedFile) -> CandidateIndex | None:
        """The index that was saved; None, said, where it is not of this pool or not of the kind that is wanted."""
        file = saved.path
        try:
            index = CandidateIndex.load(saved, self._fingerprint(), self.device)
            if len(index) != len(self.candidates.facts):
                raise CheckpointError(f"{file} holds {len(index)} models, the pool {len(self.candidates.facts)}")
        except CheckpointError as error:
            logger.info("%s; another is built", error)
            return None
        if self.wanted not in ("auto", index.kind):
            logger.info("%s is of kind %s; another is built", file, index.kind)
            return None
        return index


def is_needed(models: int, index: str) -> bool:
    """Whether a pool of so many models has a shortlist, by how candidates are to be found
    (`router.options.INDEX_CHOICES`)."""
    return models >= INDEX_FROM or index not in ("auto", "exact")


def _best(
    candidates: Candidates,
    query: QueryVectors,
    input_tokens: Array,
    weight: NDArray[np.float64],
    k: int,
    admitted: NDArray[np.bool_] | None = None,
    attitude: float = 0.0,
) -> NDArray[np.int64]:
    """Rows (B, k) of the greatest utility among those that `admitted` (M,) lets pass; -1 where there are fewer."""

    scale = candidates.cost_range_usd

    def score(start: int, stop: int) -> Array:
        part = candidates if stop - start == len(candidates.facts) else candidates.take(slice(start, stop))
        seen = part.predict(query, input_tokens, attitude)
        xp = namespace(seen.quality)
        quality, cost = xp.astype(seen.quality, xp.float64), xp.astype(seen.cost_usd, xp.float64)
        worth = like(weight, quality)
        # As `policy.rank`: equal utilities go to the cheaper, equal costs to the better.
        ties = xp.where(xp.isfinite(worth)[:, None], -TIE * cost / scale, FREE_TIE * quality)
        utility = scoring.utility(quality, cost, worth) + ties
        return utility if admitted is None else only(utility, like(admitted[start:stop], quality, dtype=xp.bool))

    return host(top_k(score, len(candidates.facts), k, len(weight))[1])
