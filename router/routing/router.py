"""The facade: strings in, `Decision`s out.

Ties encoder, network, pool and policy together and owns no maths of its own. Axes: B queries, M candidates.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, host, like, namespace
from router.checkpoint import checkpoint as checkpoints
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.default_checkpoint import default_checkpoint
from router.checkpoint.layout import find_folder
from router.checkpoint.pool_files import PoolFiles, is_pool_path
from router.checkpoint.roster import Roster
from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.suffix_guard import SuffixGuard
from router.errors import PoolError, UsageError, counted_from, known_names
from router.hub import read_hub_id
from router.index.candidate_index import CHOICES
from router.index.shortlist import Shortlist
from router.network import scoring
from router.network.onnx_network import OnnxNetwork
from router.network.taxonomy import Taxonomy
from router.network.vectors import QueryVectors
from router.policy.candidates import Candidates, Prediction
from router.policy.constraints import DEFAULT_DIAL, Constraints, cost_weights, rank
from router.policy.decision import Decision
from router.policy.explanation import Ranked, contributing
from router.policy.goal import BATCH, VALIDATION, Goal
from router.policy.goals import DialPoint, find_table
from router.pools.models import ModelFacts, System, resolve_system
from router.pools.pool import Candidate, Pool
from router.routing.pool_cache import GatheredPools
from router.routing.request import (
    InPieces,
    Request,
    UnmatchedNames,
    check_counts,
    check_fits,
    check_queries,
    check_unconstrained,
    read_attitude,
    read_names,
    read_queries,
)

logger = logging.getLogger(__name__)
Pieces = Generator[None, int, list[Decision]]  # is sent how many queries to go on by
LISTED_TOGETHER = 32  # queries for whom a large pool is narrowed to one shortlist


@dataclass(frozen=True)
class Embedded:
    """What the encoder makes of B queries."""

    whole: Array  # (B, E)
    shorter: Array  # (B, E), of the queries less their tails
    tails: list[str | None]  # (B,) unusual ends, where a guard is asked for them

    def rows(self, at: slice | list[int]) -> Embedded:
        """The same of some of the queries."""
        rows = range(len(self.tails))[at] if isinstance(at, slice) else at
        return Embedded(self.whole[at], self.shorter[at], [self.tails[row] for row in rows])


@dataclass(frozen=True)
class Profile:
    """One system's learned row, readable: logits by axis, strongest first."""

    system: System
    facts: ModelFacts
    axes: dict[str, float]
    bias: float
    mean_score: float  # over its training rows
    rests_on: str  # what it was fitted from, in words


class RouteOptions(TypedDict, total=False):
    """The keyword arguments of `Router.route`, which documents them."""

    pool: str | Path | Pool | None
    dial: float | Sequence[float] | None
    budget_usd_per_1k: float | None
    quality_at_least: float | None
    allow: Iterable[str]
    deny: Iterable[str]
    tools: bool
    images: bool
    context_tokens: int | None
    max_price_usd_per_mtok: float | None
    top: int
    batch_size: int
    guard: bool
    attitude: str


class Router:
    """Routes queries to the models of a pool; load one with `Router.from_pretrained(folder)`."""

    def __init__(
        self, checkpoint: Checkpoint, device: str = "cpu", index: str = "auto", folder: Path | None = None
    ) -> None:
        """`folder` is where the checkpoint lies, None where it is no folder; the rest is as for `from_pretrained`."""
        if index not in CHOICES:
            raise UsageError(f"index must be one of {', '.join(CHOICES)}, got {index!r}")
        self.checkpoint = checkpoint
        self.device = str(device)
        self.encoder, self.network = checkpoint.encoder, checkpoint.network
        if not isinstance(self.encoder, OnnxEncoder):
            self.encoder.to(self.device).eval()
        if not isinstance(self.network, OnnxNetwork):
            self.network.to(self.device).eval()
        self.roster = Roster.of(checkpoint)
        self._files = PoolFiles(self.roster.systems, checkpoint.onboarded)
        self.gathered = GatheredPools(self.roster, index, self.device, folder)
        self._contributing = contributing(checkpoint.taxonomy)
        self._guard: SuffixGuard | None = None  # made when first asked for
        self.unmatched: UnmatchedNames | None = UnmatchedNames()  # None: `deny` is a stranger's, the log is not

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        device: str = "cpu",
        index: str = "auto",
        backend: str = "auto",
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Router:
        """Load and verify a checkpoint; CheckpointError says what is wrong with it.

        `path` is a folder, or `hub:owner/name` or `hub:owner/name@revision` of the Hugging Face Hub, whose branch, tag
        or commit `revision` may name too; with `local_files_only` its cache alone is asked. None: ROUTER_CHECKPOINT,
        else the clone's checkpoint, else that of the package inferencedynamics-checkpoint.
        `index` is how candidates are found in pools of INDEX_FROM models and more: auto, exact, flat, ivf or hnsw.
        `backend` is what computes the encoder: `torch`, `torch-bf16` (for GPUs), `onnx` (onnxruntime on the CPU: the
        same decisions but for near ties), `onnx-int8` (faster, with rounded weights), or `auto`: onnx where it can be
        used, torch elsewhere.
        UsageError for one that is unknown or cannot be used.
        """
        path = default_checkpoint() if path is None else path
        folder = find_folder(path, revision, local_files_only)
        own = None if read_hub_id(path) else folder  # nothing is written into the Hub's cache
        return cls(checkpoints.load_checkpoint(folder, device, backend), device, index, own)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the checkpoint folder, whole or not at all, then the indexes that were made."""
        checkpoints.save_checkpoint(self.checkpoint, folder)
        self.gathered.save(Path(folder))

    def save_index(self, pool: str | Path | Pool | None = None) -> Path | None:
        """Build the pool's index if need be and write it into the checkpoint's folder; the file, None without an index.

        UsageError where the checkpoint is not a folder.
        """
        folder = self.gathered.folder
        if folder is None:
            raise UsageError("an index is saved into a checkpoint's folder: load the router from one")
        return self.gathered.save_index(folder, self.pool(pool))

    def change_pool(
        self, pool: str | Path | Pool, *, add: Iterable[Candidate] = (), remove: Iterable[str] = ()
    ) -> Pool:
        """The pool without the models named in `remove` and with those of `add` behind; its index is not built anew.

        The pool as it was hands over its index and is gathered anew if it is asked for again. PoolError for an unknown
        name, one there already, a model without a price, or where none would be left.
        """
        if isinstance(remove, str):
            raise UsageError(f"remove takes a list of names, got the string {remove!r}: write [{remove!r}]")
        before, new, gone = self.pool(pool), tuple(add), set(remove)
        if strange := sorted(gone - set(before.ids)):
            raise PoolError(f"unknown model {strange[0]!r}; {known_names(strange[0], before.ids)}")
        kept = [row for row, each in enumerate(before.candidates) if each.id not in gone]
        after = replace(before, candidates=(*(before.candidates[row] for row in kept), *new))
        if len(set(after.ids)) != len(after.candidates):
            raise PoolError("every id of a pool must be unique: a model that is added has the name of another")
        if unpriced := [each.id for each in new if not each.facts.priced]:
            raise PoolError(f"{unpriced[0]} has no price: a pool needs the prices of each model")
        if not after.candidates:
            raise PoolError(f"no model would be left in pool {before.name!r}")
        self.gathered.change(before, after, kept)
        return after

    def push_to_hub(self, repo_id: str, private: bool = True) -> str:
        """Upload the checkpoint to the Hub; returns its address there."""
        return checkpoints.push_checkpoint(self.checkpoint, repo_id, private=private)

    @property
    def taxonomy(self) -> Taxonomy:
        """The named axes."""
        return self.checkpoint.taxonomy

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems with a profile, in row order: the trained ones, then the onboarded."""
        return self.roster.systems

    @property
    def pools(self) -> dict[str, Pool]:
        """The checkpoint's own pools by name, onboarded members included."""
        return self.roster.pools

    @property
    def default_pool(self) -> str:
        """The pool used when a request names none."""
        return self.checkpoint.default_pool

    def pool(self, pool: str | Path | Pool | None = None) -> Pool:
        """A pool by name, by the path of a YAML or JSON file, or as it is; the default for None.

        Whatever has a / or ends in .yaml, .yml or .json is a path and never a name, and so is a `Path`. A file is read
        again once it changes. PoolError says what is known.
        """
        if isinstance(pool, Pool):
            return pool
        if pool is None:
            return self.pools[self.default_pool]
        if is_pool_path(pool):
            return self._files.read(pool)
        name = str(pool)
        if name in self.pools:
            return self.pools[name]
        raise PoolError(
            f"unknown pool {name!r}; {known_names(name, self.pools)}; or give a pool file by its path: ./{name}"
        )

    def candidates(self, pool: str | Path | Pool | None = None) -> Candidates:
        """The pool's arrays on this router's device, gathered once per pool."""
        return self.gathered.candidates(self.pool(pool))

    def profile(self, name: str) -> Profile:
        """The learned row of a model name or `model@protocol`; PoolError for an unknown or ambiguous name."""
        system = resolve_system(name, self.systems)
        row, table = self.systems.index(system), self.roster.learned
        weights = table.weight[row, : self.network.size.named].tolist()
        axes = dict(sorted(zip(self.taxonomy.axes, weights, strict=True), key=lambda pair: -pair[1]))
        onboarded = {each.system: each for each in self.checkpoint.onboarded.profiles}
        trained = self.roster.models.get(system.model, ModelFacts(system.model))
        facts = onboarded[system].facts if system in onboarded else trained
        rests_on = onboarded[system].rests_on if system in onboarded else "mean over its training queries"
        return Profile(system, facts, axes, float(table.bias[row]), float(table.mean_score[row]), rests_on)

    def dial_for(
        self,
        pool: str | Path | Pool | None = None,
        *,
        budget_usd_per_1k: float | None = None,
        quality_at_least: float | None = None,
    ) -> DialPoint:
        """The dial that met a budget or a quality on the validation fold, with what it cost and gave there.

        Raises CheckpointError or PoolError where nothing was measured, UsageError for what no dial met.
        """
        goal = Goal.read(None, budget_usd_per_1k, quality_at_least)
        if goal is None:
            raise UsageError("give budget_usd_per_1k or quality_at_least")
        return self._point(goal, self.pool(pool))

    def _point(self, goal: Goal, pool: Pool) -> DialPoint:
        return goal.point(find_table(self.checkpoint.dial_tables, pool, self.candidates(pool).cost_range_usd))

    def predict(
        self, queries: Sequence[str], pool: str | Path | Pool | None = None, batch_size: int = 32
    ) -> Prediction:
        """Quality and expected cost (B, M) of every candidate; QueryError for a query that cannot be routed."""
        check_queries(queries)
        embedding = self._embed(list(queries), batch_size)
        return self._predict(self.candidates(pool), embedding, queries)

    def _embed(self, texts: Sequence[str], batch_size: int) -> Array:
        """Embeddings (B, E), arrays of what computes them."""
        return self.encoder.encode(texts, batch_size=batch_size)

    def _predict(
        self, candidates: Candidates, embedding: Array, queries: Sequence[str], attitude: float = 0.0
    ) -> Prediction:
        """What is expected by `embedding` (B, E), at the costs of `queries`, which the models will be sent."""
        return candidates.predict(*self._read(embedding, queries), attitude)

    def _read(self, embedding: Array, queries: Sequence[str]) -> tuple[QueryVectors, Array]:
        """Query vectors of `embedding` (B, E), and the tokens (B,) of `queries`."""
        query = self.network.query_vectors(embedding)
        return query, like([len(q) / scoring.CHARS_PER_TOKEN for q in queries], query.difficulty)

    @overload
    def route(self, query: str, **options: Unpack[RouteOptions]) -> Decision: ...  # type: ignore[overload-overlap]
    @overload
    def route(self, query: InPieces, **options: Unpack[RouteOptions]) -> Pieces: ...  # type: ignore[overload-overlap]
    @overload
    def route(self, query: Sequence[str], **options: Unpack[RouteOptions]) -> list[Decision]: ...
    @overload
    def route(self, query: Iterator[str], **options: Unpack[RouteOptions]) -> Iterator[Decision]: ...

    def route(
        self,
        query: str | Sequence[str] | Iterator[str],
        *,
        pool: str | Path | Pool | None = None,
        dial: float | Sequence[float] | None = None,
        budget_usd_per_1k: float | None = None,
        quality_at_least: float | None = None,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        tools: bool = False,
        images: bool = False,
        context_tokens: int | None = None,
        max_price_usd_per_mtok: float | None = None,
        top: int = 5,
        batch_size: int = 32,
        guard: bool = False,
        attitude: str = "neutral",
    ) -> Decision | list[Decision] | Iterator[Decision] | Pieces:
        """Route one query to a `Decision`, a list to a list, an iterator to an iterator (lazily, by `batch_size`).

        An array of texts and a column of a table (numpy, pandas) count as a list.
        `InPieces` of a list give a generator: after `next`, each `send` of a number goes on by as many queries, and it
        returns what the list would have given. Only the assignment of a list to its budget or quality is one piece.

        `dial` is a number from 0 (quality at any price) to 10 (least predicted cost), or one per query of a list;
        by default 3. In its place may stand `budget_usd_per_1k`, the greatest mean predicted cost per 1,000 queries, or
        `quality_at_least`, the least mean predicted quality: a list meets it exactly, as a whole; one query or an
        iterator takes the dial that met it on validation (see `dial_for`). `top` alternatives are reported. With
        `guard`, an unusual end of a query that changes its route is not read: the decision's `flagged` holds it.
        `attitude` (optimistic, neutral, pessimistic) takes the quality of a model onboarded from few answers a standard
        deviation above what its profile says, at it, or below; other models are the same under each.
        Raises QueryError, NoCandidateError (of one of several queries both name it by its `index`), PoolError,
        CheckpointError or UsageError.
        """
        check_counts(top=top, batch_size=batch_size)
        queries = query if isinstance(query, InPieces) else read_queries(query)
        demands = (tools, images, context_tokens, max_price_usd_per_mtok)
        constraints = Constraints(read_names("allow", allow), read_names("deny", deny), *demands)
        deviations = read_attitude(attitude)
        goal = Goal.read(dial, budget_usd_per_1k, quality_at_least)
        found_pool = self.pool(pool)
        if self.unmatched is not None:
            self.unmatched.warn(constraints.deny, found_pool)
        request = Request(found_pool, DEFAULT_DIAL if dial is None else dial, goal, constraints, top, guard, deviations)
        if goal and not isinstance(queries, list):
            check_unconstrained(constraints)
            point = self._point(goal, request.pool)
            request = replace(request, dial=point.dial, goal=replace(goal, met_on=VALIDATION))
        if isinstance(queries, str):
            with counted_from(None):
                return self._route([queries], request, batch_size)[0]
        if isinstance(queries, InPieces):
            return self._pieces(queries, request, batch_size)
        if isinstance(queries, list):
            return self._route(queries, request, batch_size)
        if not isinstance(request.dial, int | float):
            raise UsageError("an iterator of queries takes one dial; give a list of queries for one dial each")
        return self._stream(queries, request, batch_size)

    def _stream(self, queries: Iterator[str], request: Request, batch_size: int) -> Iterator[Decision]:
        start = 0
        while batch := list(islice(queries, batch_size)):
            with counted_from(start):
                decisions = self._route(batch, request, batch_size)
            yield from decisions
            start += len(batch)

    def _route(self, queries: Sequence[str], request: Request, batch_size: int) -> list[Decision]:
        """All of a list in as few pieces as there can be."""
        pieces = self._pieces(queries, request, batch_size)
        try:
            next(pieces)
            while True:
                pieces.send(len(queries))
        except StopIteration as end:
            return list(end.value)

    def _pieces(self, queries: Sequence[str], request: Request, batch_size: int) -> Pieces:
        """First the queries are encoded, texts of like length together; then decisions are made in their order."""
        if not queries:
            return []
        check_queries(queries)
        shortlist, dials = self.gathered.shortlist(request.pool), None
        if request.goal is None or request.goal.met_on != BATCH:
            dials, _ = cost_weights(request.dial, len(queries), self.candidates(request.pool).cost_range_usd)
        elif shortlist is not None:
            check_fits(len(queries), len(request.pool.candidates))
        count = yield
        if count >= len(queries):
            embedded = self._embedded(queries, request.guard, batch_size)
            count = yield
        else:
            order = sorted(range(len(queries)), key=lambda row: -len(queries[row]))
            parts, start = [], 0
            while start < len(order):
                texts = [queries[row] for row in order[start : start + count]]
                parts.append(self._embedded(texts, request.guard, batch_size))
                start, count = start + count, (yield)
            embedded = _joined(parts).rows(np.argsort(order).tolist())
        together = self._rank(queries, embedded, request, None) if dials is None else None
        if together is not None:
            count = yield
        decisions: list[Decision] = []
        while True:
            at = slice(len(decisions), len(decisions) + (count if shortlist is None else LISTED_TOGETHER))
            if together is not None:
                decisions += together.decisions(queries, request.top, at)
            else:
                assert dials is not None
                part = replace(request, dial=dials[at].tolist())
                with counted_from(len(decisions)):
                    ranked = self._rank(queries[at], embedded.rows(at), part, shortlist)
                decisions += ranked.decisions(queries[at], request.top)
            if len(decisions) == len(queries):
                return decisions
            count = yield

    def _rank(
        self, queries: Sequence[str], embedded: Embedded, request: Request, shortlist: Shortlist | None
    ) -> Ranked:
        """What the decisions on `queries` are written from, among the candidates of the pool or of its shortlist."""
        candidates = self.candidates(request.pool)
        embedding, tails = embedded.whole, embedded.tails
        read = self._read(embedding, queries)
        if shortlist is not None:
            _, weights = cost_weights(request.dial, len(queries), candidates.cost_range_usd)
            both = [read, self._read(embedded.shorter, queries)] if any(tails) else [read]
            rows = [
                shortlist.narrow(*each, weights, request.constraints, request.top, request.attitude) for each in both
            ]
            candidates = candidates.take(rows[0] if len(rows) == 1 else np.unique(np.concatenate(rows)))
        seen = candidates.predict(*read, request.attitude)
        admitted = request.constraints.admit(candidates.facts, seen.input_tokens.tolist(), candidates.windows)
        dials, weights, chosen = request.weigh(seen, admitted, candidates.cost_range_usd)
        flagged: list[str | None] = [None] * len(queries)
        if request.guard:
            by = (weights, admitted)
            embedding, flagged = self._if_moved(queries, candidates, embedded, seen, by, request.attitude)
            seen = self._predict(candidates, embedding, queries, request.attitude)
            dials, weights, chosen = request.weigh(seen, admitted, candidates.cost_range_usd)
        utility, order = rank(seen.quality, seen.cost_usd, weights, admitted, max(request.top, 2))
        orders = [[m for m in ranked if admitted[row, m]] for row, ranked in enumerate(order.tolist())]
        if chosen is not None:  # each is its query's best, at the edge of its weights as good as another
            orders = [[m, *(n for n in ranked if n != m)] for m, ranked in zip(chosen, orders, strict=True)]
        return Ranked(
            request.pool.name,
            candidates,
            self.taxonomy,
            self._contributing,
            seen,
            utility,
            dials,
            weights,
            orders,
            request.goal,
            flagged,
            [self.encoder.corrections(query) for query in queries],
        )

    def _embedded(self, queries: Sequence[str], guard: bool, batch_size: int) -> Embedded:
        """The encoder's part of the work, also for the queries less their unusual tails."""
        embedding = self._embed(queries, batch_size)
        if not guard:
            return Embedded(embedding, embedding, [None] * len(queries))
        if self._guard is None:
            self._guard = SuffixGuard(self.encoder.described.tokenizer)
        tails = [self._guard.tail(query) for query in queries]
        rows = [row for row, tail in enumerate(tails) if tail]
        rest = [query.removesuffix(tail) for query, tail in zip(queries, tails, strict=True) if tail]
        if not rows:
            return Embedded(embedding, embedding, tails)
        shorter = namespace(embedding).asarray(embedding, copy=True)
        shorter[rows] = self._embed(rest, batch_size)
        return Embedded(embedding, shorter, tails)

    def _if_moved(
        self,
        queries: Sequence[str],
        candidates: Candidates,
        embedded: Embedded,
        seen: Prediction,
        by: tuple[NDArray[np.float64], NDArray[np.bool_]],
        attitude: float,
    ) -> tuple[Array, list[str | None]]:
        """Embeddings (B, E) of the queries less those tails that change their routes, and these tails.

        `by` are the weights (B,) and the mask (B, M) that routes are chosen by.
        """
        embedding, shorter, tails = embedded.whole, embedded.shorter, embedded.tails
        if not any(tails):
            return embedding, tails
        less = self._predict(candidates, shorter, queries, attitude)
        chosen, without = (host(rank(each.quality, each.cost_usd, *by, 1)[1]) for each in (seen, less))
        moved = chosen != without  # (B, 1)
        flagged = [tail if differs else None for tail, differs in zip(tails, moved[:, 0].tolist(), strict=True)]
        xp = namespace(embedding)
        return xp.where(like(moved, embedding, dtype=xp.bool), shorter, embedding), flagged


def _joined(parts: list[Embedded]) -> Embedded:
    """All parts, one after the other."""
    xp = namespace(parts[0].whole)
    whole, shorter = (xp.concat([getattr(each, name) for each in parts]) for name in ("whole", "shorter"))
    return Embedded(whole, shorter, [tail for each in parts for tail in each.tails])
