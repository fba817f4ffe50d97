"""Router: queries in, decisions out. A facade over checkpoint, pool cache and pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Unpack, overload

from router.checkpoint import storage
from router.checkpoint.checkpoint import Checkpoint, ReadableProfile
from router.checkpoint.default_checkpoint import default_checkpoint
from router.checkpoint.layout import find_folder
from router.checkpoint.pool_files import PoolFinder
from router.errors import UsageError, counted_from
from router.hub import read_hub_id
from router.network.taxonomy import Taxonomy
from router.policy.candidates import Candidates, Prediction
from router.policy.decision import Decision
from router.policy.goals import DialPoint, Goal, find_table
from router.pools.models import System
from router.pools.pool import Candidate, Pool, changed_pool
from router.routing.pieces import Pieces, route_in_pieces
from router.routing.pipeline import Pipeline
from router.routing.pool_cache import PoolCache
from router.routing.request import PoolChoice, Request, RouteOptions, UnmatchedNames, read_queries


class Router:
    """Routes queries to the models of a pool; load one with `Router.from_pretrained(folder)`."""

    def __init__(
        self, checkpoint: Checkpoint, device: str = "cpu", index: str = "auto", folder: Path | None = None
    ) -> None:
        """`folder` is the checkpoint's, None where it has none; the rest is as for `from_pretrained`."""
        self.checkpoint, self.device = checkpoint.placed(str(device)), str(device)
        self.encoder, self.network = checkpoint.encoder, checkpoint.network
        self._pools = PoolFinder(checkpoint)
        self.pool_cache = PoolCache(checkpoint, index, self.device, folder)
        self.pipeline = Pipeline(checkpoint, self.pool_cache)
        self.unmatched: UnmatchedNames | None = UnmatchedNames()  # None: strangers choose `deny`, and nothing is logged

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
        """Load and verify a checkpoint; CheckpointError says what is wrong with it, UsageError with an argument.

        `path` is a folder or `hub:owner/name[@revision]` of the Hugging Face Hub (`local_files_only`: of its cache);
        None: ROUTER_CHECKPOINT, otherwise the clone's, otherwise that of the package inferencedynamics-checkpoint.
        `index` finds candidates in pools of INDEX_FROM models and more: auto, exact, flat or ivf. `backend`
        computes the encoder: `torch`, `torch-bf16` (for GPUs), `onnx` (on the CPU: the same decisions but for near
        ties), `onnx-int8` (faster, with rounded weights), or `auto`: onnx where it can be used, otherwise torch.
        """
        path = default_checkpoint() if path is None else path
        folder = find_folder(path, revision, local_files_only)
        own = None if read_hub_id(path) else folder  # nothing is written into the Hub's cache
        return cls(storage.load_checkpoint(folder, device, backend), device, index, own)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the checkpoint folder, whole or not at all, then the indexes that were made."""
        storage.save_checkpoint(self.checkpoint, folder)
        self.pool_cache.save(Path(folder))

    def save_index(self, pool: PoolChoice = None) -> Path | None:
        """Build the pool's index if need be and write it into the checkpoint's folder; None for a pool without one."""
        return self.pool_cache.save_own_index(self.pool(pool))

    def change_pool(self, pool: PoolChoice, *, add: Iterable[Candidate] = (), remove: Iterable[str] = ()) -> Pool:
        """The pool without the models in `remove` and with those of `add`, which takes over its index; PoolError."""
        before = self.pool(pool)
        after, kept = changed_pool(before, add, remove)
        self.pool_cache.change(before, after, kept)
        return after

    def push_to_hub(self, repo_id: str, private: bool = True) -> str:
        """Upload the checkpoint to the Hub; returns its address there."""
        return storage.push_checkpoint(self.checkpoint, repo_id, private=private)

    @property
    def taxonomy(self) -> Taxonomy:
        """The named axes."""
        return self.checkpoint.taxonomy

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems with a profile, in row order: the trained ones, then the added."""
        return self.checkpoint.all_systems

    @property
    def pools(self) -> dict[str, Pool]:
        """The checkpoint's own pools by name, added members included."""
        return self.checkpoint.all_pools

    @property
    def default_pool(self) -> str:
        """The pool used when a request names none."""
        return self.checkpoint.default_pool

    def pool(self, pool: PoolChoice = None) -> Pool:
        """A pool by name, by path or as it is; the default for None. See `PoolFinder.find_pool`."""
        return self._pools.find_pool(pool)

    def candidates(self, pool: PoolChoice = None) -> Candidates:
        """The pool's arrays on this router's device, gathered once per pool."""
        return self.pool_cache.candidates(self.pool(pool))

    def profile(self, name: str) -> ReadableProfile:
        """The learned row of a model name or `model@protocol`; PoolError for an unknown or ambiguous name."""
        return self.checkpoint.readable_profile(name)

    def dial_for(
        self,
        pool: PoolChoice = None,
        *,
        budget_usd_per_1k: float | None = None,
        quality_at_least: float | None = None,
    ) -> DialPoint:
        """The dial that met a budget or a quality on the validation fold; errors where none was measured or met it."""
        goal = Goal.read(None, budget_usd_per_1k, quality_at_least)
        if goal is None:
            raise UsageError("give budget_usd_per_1k or quality_at_least")
        return self._point(goal, self.pool(pool))

    def _point(self, goal: Goal, pool: Pool) -> DialPoint:
        return goal.point(find_table(self.checkpoint.dial_tables, pool, self.candidates(pool).cost_range_usd))

    def predict(self, queries: Sequence[str], pool: PoolChoice = None, batch_size: int = 32) -> Prediction:
        """Quality and expected cost (B, M) of every candidate; QueryError for a query that cannot be routed."""
        return self.pipeline.predict(queries, self.candidates(pool), batch_size)

    @overload
    def route(self, query: str, **options: Unpack[RouteOptions]) -> Decision: ...  # type: ignore[overload-overlap]
    @overload
    def route(self, query: Sequence[str], **options: Unpack[RouteOptions]) -> list[Decision]: ...
    @overload
    def route(self, query: Iterator[str], **options: Unpack[RouteOptions]) -> Iterator[Decision]: ...

    def route(
        self, query: str | Sequence[str] | Iterator[str], **options: Unpack[RouteOptions]
    ) -> Decision | list[Decision] | Iterator[Decision]:
        """Route one query to a `Decision`, a list to a list, an iterator to an iterator (lazily, by `batch_size`).

        An array of texts and a column of a table (numpy, pandas) count as a list. The options are keyword arguments,
        described in `RouteOptions`: pool, dial, budget_usd_per_1k, quality_at_least, allow, deny, tools, images,
        context_tokens, max_price_usd_per_mtok, top, batch_size, guard, attitude. A list meets a budget or a quality
        exactly, as a whole; one query or an iterator takes the dial that met it on validation (see `dial_for`).
        Raises QueryError, NoCandidateError (each names one of several queries by its `index`), PoolError,
        CheckpointError or UsageError.
        """
        queries, request = read_queries(query), self._request(options)
        if isinstance(queries, list):
            return self.pipeline.route(queries, request)
        if request.goal is not None:
            request = request.by_dial(self._point(request.goal, request.pool))
        if isinstance(queries, str):
            with counted_from(None):
                return self.pipeline.route([queries], request)[0]
        if not isinstance(request.dial, int | float):
            raise UsageError("an iterator of queries takes one dial; give a list of queries for one dial each")
        return self.pipeline.stream(queries, request)

    def route_in_pieces(self, queries: Sequence[str], **options: Unpack[RouteOptions]) -> Pieces:
        """A generator that routes a list piece by piece, see `router.routing.pieces`; options as of `route`."""
        return route_in_pieces(self.pipeline, queries, self._request(options))

    def _request(self, options: RouteOptions) -> Request:
        request = Request.read(self.pool, **options)
        if self.unmatched is not None:
            self.unmatched.warn(request.constraints.deny, request.pool)
        return request
