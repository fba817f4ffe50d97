"""Shortlist of a large pool: the few candidates that can be among the best for some queries, found by an index.

It does not choose: a candidate that is not on the list could not have been chosen, to the accuracy in
docs/performance.md. Masks of admitted candidates, samples and prices depend on the pool and the constraints alone, so
they are computed once. Axes: B queries, M candidates, k results.
"""

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
from router.index.candidate_index import CandidateIndex, IndexFile, choose_kind
from router.index.linear_utility import LEAST_WEIGHT, item_vectors, search_vectors, tangent_logit
from router.index.topk import only, top_k
from router.network import scoring
from router.network.vectors import QueryVectors
from router.options import HNSW_REMOVED
from router.policy.candidates import Candidates
from router.policy.constraints import Constraints

logger = logging.getLogger(__name__)

# The pool size from which a shortlist is faster than scoring all candidates. By scripts/bench/large_pools.py on two CPU
# cores, 4,000 take 0.8 ms (all) against 0.6 (flat index), 2,000 take 0.4 against 0.5.
INDEX_FROM = 4096
PROPOSED = 64  # candidates that an index proposes for a query; at least PROPOSED_PER_TOP for each one that is shown
PROPOSED_PER_TOP = 4
SAMPLE = 1024  # candidates by which the point of linearisation is chosen
TIE = 1e-10  # utility per cost range, which breaks ties of utility
FREE_TIE = 1e-15  # USD per unit of quality, which breaks ties of cost where only cost counts
CHUNK = 65_536  # candidates whose item vectors are made at once
REMEMBERED = 16  # different constraints whose masks are cached


@dataclass(frozen=True)
class _Admitted:
    """The candidates that meet a request's constraints."""

    mask: NDArray[np.bool_] | None  # (M,); None: all candidates
    few: Candidates | None  # all admitted, where they are too few to need an index
    rows: NDArray[np.intp] | None  # (M',) of `few`
    sample: Candidates


class Shortlist:
    """The shortlists of one large pool."""

    def __init__(
        self, candidates: Candidates, protocols: int, wanted: str, device: str, saved: IndexFile | None = None
    ) -> None:
        """`wanted` is one of INDEX_CHOICES; a `saved` index is used if it is of that kind and this pool."""
        self.candidates, self.protocols, self.wanted, self.device = candidates, protocols, wanted, device
        self.index: CandidateIndex | None = None  # None: all are scored exactly, a chunk at a time
        self._cache_lock = threading.Lock()
        if wanted != "exact":
            self.index = self._load(saved) if saved is not None else None
            self.index = self.index or self._build()
        self._reset_masks()

    def narrow(
        self,
        query: QueryVectors,
        input_tokens: Array,
        weight: NDArray[np.float64],
        constraints: Constraints,
        top: int,
        attitude: float = 0.0,
    ) -> NDArray[np.int64]:
        """Rows (N,), ascending, that include the `top` best admitted candidates of each of B queries.

        `weight` (B,) is each query's cost weight; `attitude` is as in `Candidates.quality`. Raises NoCandidateError as
        `Constraints.admit` does.
        """
        k = max(PROPOSED, PROPOSED_PER_TOP * top)
        wanted = constraints.context_tokens
        needed = input_tokens.tolist() if wanted is None else [wanted] * len(weight)
        windows = np.searchsorted(self._windows, np.asarray(needed, np.float64))  # the narrowest that is wide enough
        proposed = [np.zeros(0, np.int64)]
        for window in np.unique(windows).tolist():
            mine = np.flatnonzero(windows == window)
            first = int(mine[0])
            with counted_from(first):
                admitted = self._admit(constraints, window, needed[first], top)
            at = like(mine, self.candidates.protocol)
            part = query.take(at), input_tokens[at], weight[mine]
            proposed.append(self._propose(*part, admitted, k))
            if attitude:  # the index does not know it: the best of the candidates that it affects are added
                proposed.append(self._propose_unsure(*part, admitted, k, attitude))
        return np.unique(np.concatenate(proposed))

    def change(self, candidates: Candidates, kept: Sequence[int]) -> None:
        """Replace the pool by `candidates`: the old rows `kept`, ascending, then new candidates."""
        if self.index is not None:
            self.index.remove(np.setdiff1d(np.arange(len(self.candidates.facts)), kept).tolist())
            if len(candidates.facts) > len(kept):
                self.index.add(item_vectors(candidates.take(slice(len(kept), None)), self.protocols))
        self.candidates = candidates
        self._reset_masks()

    def save(self, file: Path) -> None:
        """Write the index, if there is one."""
        if self.index is not None:
            self.index.save(file, self._fingerprint())

    def _reset_masks(self) -> None:
        """Read the context windows and drop cached masks, which belong to the pool as it was."""
        self._window = self.candidates.windows
        self._windows = np.unique(np.append(self._window, np.inf))
        self._admitted: OrderedDict[tuple[Constraints, int], _Admitted] = OrderedDict()

    def _admit(self, constraints: Constraints, window: int, needed: float, top: int) -> _Admitted:
        """The candidates for queries that need `needed` tokens and so at least the `window`-th context window.

        The result is cached. A warning is logged, once, where there are fewer than `top`, the number to be shown.
        """
        key = (constraints, window)
        with self._cache_lock:
            if key in self._admitted:
                self._admitted.move_to_end(key)
                return self._admitted[key]
        mask = constraints.admit_facts(self.candidates.facts) & (self._window >= self._windows[window])
        count = int(mask.sum())
        if not count:
            constraints.admit(self.candidates.facts, [needed])  # raises, with what each constraint removed
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
        with self._cache_lock:
            self._admitted[key] = admitted
            if len(self._admitted) > REMEMBERED:
                self._admitted.popitem(last=False)
        return admitted

    def _propose(
        self, query: QueryVectors, input_tokens: Array, weight: NDArray[np.float64], admitted: _Admitted, k: int
    ) -> NDArray[np.int64]:
        """Rows of the k best candidates of each query, in any order."""
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
        """Rows of the k best among the candidates whose quality depends on the attitude."""
        rows = np.array(self.candidates.unsure, np.int64)
        if admitted.mask is not None:
            rows = rows[admitted.mask[rows]]
        if not len(rows):
            return rows
        found = _best(self.candidates.take(rows), query, input_tokens, weight, k, attitude=attitude).ravel()
        return rows[found[found >= 0]]

    def _build(self) -> CandidateIndex:
        """A new index of the pool."""
        count = len(self.candidates.facts)
        kind = choose_kind(self.wanted, count, self.device)
        logger.info("building an index of %d models (%s)", count, kind)

        def chunks() -> Iterator[Array]:
            for start in range(0, count, CHUNK):
                yield item_vectors(self.candidates.take(slice(start, start + CHUNK)), self.protocols)

        return CandidateIndex.build(chunks, self.candidates.profile.shape[1] + 1, kind, self.device)

    def _fingerprint(self) -> str:
        """SHA-256 of all that an index is built from."""
        found = hashlib.sha256(str(self.protocols).encode())
        c = self.candidates
        for part in (c.profile, c.bias, c.log_tokens, c.protocol, c.price_in, c.price_out):
            found.update(np.ascontiguousarray(host(part)).data)
        return found.hexdigest()

    def _load(self, saved: IndexFile) -> CandidateIndex | None:
        """The saved index; None, and a line in the log, where it is not of this pool or not of the wanted kind."""
        file = saved.path
        try:
            index = CandidateIndex.load(saved, self._fingerprint(), self.device)
            if len(index) != len(self.candidates.facts):
                raise CheckpointError(f"{file} holds {len(index)} models, the pool {len(self.candidates.facts)}")
            if self.wanted not in ("auto", index.kind):
                raise CheckpointError(f"{file} is of kind {index.kind}")
        except CheckpointError as error:
            logger.log(logging.WARNING if HNSW_REMOVED in str(error) else logging.INFO, "%s; another is built", error)
            return None
        return index


def is_needed(models: int, index: str) -> bool:
    """Whether a pool of so many models has a shortlist; `index` is one of INDEX_CHOICES."""
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
    """Rows (B, k) of the greatest utility among the candidates in `admitted` (M,); -1 where there are fewer."""

    scale = candidates.cost_range_usd

    def score(start: int, stop: int) -> Array:
        part = candidates if stop - start == len(candidates.facts) else candidates.take(slice(start, stop))
        prediction = part.predict(query, input_tokens, attitude)
        xp = namespace(prediction.quality)
        quality, cost = xp.astype(prediction.quality, xp.float64), xp.astype(prediction.cost_usd, xp.float64)
        worth = like(weight, quality)
        # Equal utilities go to the cheaper candidate and equal costs to the better, as in `policy`.
        ties = xp.where(xp.isfinite(worth)[:, None], -TIE * cost / scale, FREE_TIE * quality)
        utility = scoring.utility(quality, cost, worth) + ties
        return utility if admitted is None else only(utility, like(admitted[start:stop], quality, dtype=xp.bool))

    return host(top_k(score, len(candidates.facts), k, len(weight))[1])
