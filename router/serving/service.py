"""State of one gateway process: engine, pool, upstreams, keys, sessions, log and metrics; its loading and its reload.

The configuration is loaded and checked as a whole, so that one error lists all problems. This module knows no HTTP.
Replicas share nothing but the file of client keys.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.checkpoint.added_models import with_revisions
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import RouterError
from router.pools.pool import Pool, examine_pool, pool_error
from router.pools.price_file import price_table
from router.serving.client_keys import KeyRing, RateLimits, default_keys_file
from router.serving.dispatch.sessions import Sessions
from router.serving.engine import Engine
from router.serving.settings import ServeSettings, check_bind, read_settings, upstream_problems
from router.serving.telemetry.decision_log import DecisionLog
from router.serving.telemetry.metrics import Metrics
from router.serving.upstreams.client import Upstreams
from router.serving.upstreams.failover import RetryBudget

if TYPE_CHECKING:
    from router.routing.router import Router

logger = logging.getLogger(__name__)
WORKERS = 2  # batches in progress: with one, processors idle while a batch is read or one of its threads waits
WARM_UP = 5  # queries before the server is ready
# Settings that only a restart changes.
FIXED = ("host", "port", "decision_log", "log_max_bytes", "log_max_age_days", "when_log_full", "store_prompts",
         "max_queue", "max_batch_queue", "session_ttl_s", "max_sessions", "session_threshold")  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """Pool, settings, upstreams and keys, which a reload replaces together; a request keeps the one it began with."""

    pool: Pool
    settings: ServeSettings
    upstreams: Upstreams
    keys: KeyRing | None

    @property
    def forwards(self) -> bool:
        """Whether the pool has upstreams; otherwise the server only decides."""
        return bool(self.upstreams.targets)


class GatewayState:
    """The state of one server: what a reload replaces (`snapshot`) and what it keeps."""

    def __init__(self, loader: ConfigLoader, router: Router, snapshot: Snapshot) -> None:
        self.loader, self.snapshot = loader, snapshot
        settings = snapshot.settings
        workers = WORKERS if router.device == "cpu" else 1  # a GPU is busy with one batch, and prefers larger ones
        most, most_listed = settings.max_queue, settings.max_batch_queue
        self.engine = Engine(router, max_queue=most, max_list_queue=most_listed, workers=workers)
        self.sessions = Sessions(settings.session_threshold, settings.session_ttl_s, settings.max_sessions)
        self.budget = RetryBudget(settings.retry_share, settings.retry_burst)
        self.limits = RateLimits()
        self.log = _open_log(settings)
        self.metrics = Metrics(
            lambda: self.engine.waiting,
            lambda: self.snapshot.upstreams.breaker_states(),
            lambda: self.log.dropped if self.log else 0,
            lambda: self.log.deleted if self.log else 0,
        )
        self.ready = self.stopping = False

    async def warm(self) -> None:
        """Route a few queries, which fills caches and lets the engine measure a decision's time; then be ready."""
        for number in range(WARM_UP):
            await self.engine.route(f"warm up {number}", pool=self.snapshot.pool, dial=self.snapshot.settings.dial)
        self.ready = True

    async def reload(self) -> bool:
        """Whether checkpoint, pool, settings and keys, read again, were valid; if so they replace the old ones."""
        try:
            router, snapshot = await asyncio.to_thread(self.loader.load, self.snapshot)
            await asyncio.to_thread(router.route, "warm up", pool=snapshot.pool)
        except (RouterError, OSError) as error:
            logger.error("not reloaded, all stays as it was: %s", error)
            return False
        self.engine.swap(router)
        self.snapshot = snapshot
        self.budget.share, self.budget.burst = snapshot.settings.retry_share, snapshot.settings.retry_burst
        if gc.get_freeze_count():
            await asyncio.to_thread(freeze_garbage)
        logger.info("reloaded: pool %s of %d models", snapshot.pool.name, len(snapshot.pool.candidates))
        return True

    async def close(self) -> None:
        """Stop the engine, close the connections and write every row of the log."""
        self.stopping = True
        await asyncio.to_thread(self.engine.close)
        await self.snapshot.upstreams.close()
        if self.log is not None:
            await asyncio.to_thread(self.log.close)


@dataclass(frozen=True)
class ConfigLoader:
    """Loader of the configuration and the router, used at the start and at every reload."""

    pool_file: Path
    load_router: Callable[[], Router]
    flags: Mapping[str, Any]  # settings of the command line, which override those of the file

    def load(self, old: Snapshot | None = None) -> tuple[Router, Snapshot]:
        """The router and the snapshot. Raises PoolError with every problem of the configuration, or CheckpointError."""
        problems: list[str] = []
        settings = read_settings(self.pool_file, self.flags, problems)
        if old is not None:  # before `check_bind`: the socket keeps its address
            settings = _with_fixed(settings, old.settings)
        router = self.load_router()
        router.unmatched = None  # `deny` comes from clients, whose typing errors do not belong in this log
        pool, wrong = examine_pool(self.pool_file, router.systems, price_table())  # not one of the checkpoint's
        problems = [*wrong, *problems]
        if pool is not None and not problems:
            pool = with_revisions(pool, router.checkpoint.added_models)
            problems += upstream_problems(pool, os.environ)
        keys = None
        try:
            if settings.keys or not settings.is_loopback:
                keys = KeyRing(settings.keys or default_keys_file())
        except RouterError as error:
            problems.append(f"serve.keys: {error}")
        else:
            valid = [key for key in keys.list() if key.revoked is None] if keys else []
            problems += check_bind(settings, len(valid))
        if settings.decision_log and not Path(settings.decision_log).parent.is_dir():
            folder = Path(settings.decision_log).parent
            problems.append(f"serve.decision_log: there is no folder {folder}; make it first")
        if problems or pool is None:
            raise pool_error(self.pool_file, problems)
        if isinstance(router.encoder, OnnxEncoder):
            router.encoder.add_session()
        upstreams = Upstreams(pool, settings, os.environ, old.upstreams if old else None)
        return router, Snapshot(pool, settings, upstreams, keys)


def _with_fixed(settings: ServeSettings, old: ServeSettings) -> ServeSettings:
    """`settings` with the old values of those that only a restart changes."""
    for name in FIXED:
        if getattr(old, name) != getattr(settings, name):
            logger.warning("serve.%s changes with a restart only", name)
    return settings.model_copy(update={name: getattr(old, name) for name in FIXED})


def _open_log(settings: ServeSettings) -> DecisionLog | None:
    if settings.decision_log is None:
        return None
    log = DecisionLog(
        settings.decision_log,
        max_bytes=settings.log_max_bytes,
        max_age_s=None if settings.log_max_age_days is None else settings.log_max_age_days * 86_400,
        when_full=settings.when_log_full,
        store_prompts=settings.store_prompts,
    )
    log.start()
    return log


def freeze_garbage() -> None:
    """Exclude all present objects from garbage collection, after one last collection.

    To scan a router's words and tables takes 0.1 s, in which no request is answered.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def new_decision_id() -> str:
    """A random id of a decision, which nobody can guess."""
    return f"dec_{secrets.token_hex(12)}"
