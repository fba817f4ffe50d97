"""Everything one server holds: the engine, the pool and its upstreams, log, keys, sessions and metrics; and its reload.

Loads and checks them together, so that all problems are told at once. Knows no HTTP. All of it is one process' own but
the files of keys and decisions.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.checkpoint.added_models import marked
from router.encoding.onnx_encoder import OnnxEncoder
from router.errors import RouterError
from router.pools.pool import Pool, examine_pool
from router.serving.client_keys import KeyRing, RateLimits, default_keys_file
from router.serving.dispatch.sessions import Sessions
from router.serving.engine import Engine
from router.serving.settings import (
    ServeSettings,
    check_bind,
    configuration_error,
    read_settings,
    upstream_problems,
)
from router.serving.telemetry.decision_log import DecisionLog
from router.serving.telemetry.metrics import Metrics
from router.serving.upstreams.client import Upstreams
from router.serving.upstreams.failover import RetryBudget

if TYPE_CHECKING:
    from router.routing.router import Router

logger = logging.getLogger(__name__)
WORKERS = 2  # batches of queries under way: with one, processors idle while it is read, or one of its threads waits
WARM_UP = 5  # queries
MOST_ALTERNATIVES = 64  # of a large pool that are ranked for a request
# What a reload does not change.
FIXED = ("host", "port", "decision_log", "log_max_bytes", "log_max_age_days", "when_log_full", "store_prompts",
         "max_queue", "max_batch_queue", "session_ttl_s", "max_sessions", "session_threshold")  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What a reload replaces, all at once; a request keeps the one it began with."""

    pool: Pool
    settings: ServeSettings
    upstreams: Upstreams
    keys: KeyRing | None
    head_chars: int  # of a text that the encoder reads as its head

    @property
    def forwards(self) -> bool:
        """Whether there are upstreams, else it only decides."""
        return bool(self.upstreams.targets)


class Service:
    """One server's state."""

    def __init__(self, source: Source, router: Router, setup: Setup) -> None:
        self.source, self.setup = source, setup
        settings = setup.settings
        workers = WORKERS if router.device == "cpu" else 1  # a GPU is busy with one batch, and larger ones are better
        most, most_listed = settings.max_queue, settings.max_batch_queue
        self.engine = Engine(router, max_queue=most, max_list_queue=most_listed, workers=workers)
        self.sessions = Sessions(settings.session_threshold, settings.session_ttl_s, settings.max_sessions)
        self.budget = RetryBudget(settings.retry_share, settings.retry_burst)
        self.limits = RateLimits()
        self.log = _open_log(settings)
        self.metrics = Metrics(
            lambda: self.engine.waiting,
            lambda: self.setup.upstreams.breaker_states(),
            lambda: self.log.dropped if self.log else 0,
            lambda: self.log.deleted if self.log else 0,
        )
        self.ready = self.stopping = False

    async def warm(self) -> None:
        """Route first queries: what is made once is gathered, and the engine learns how long one takes. Then ready."""
        for number in range(WARM_UP):
            await self.engine.route(f"warm up {number}", pool=self.setup.pool, dial=self.setup.settings.dial)
        self.ready = True

    async def reload(self) -> bool:
        """Read checkpoint, pool, settings and keys again, and replace them if nothing is wrong; whether that was so."""
        try:
            router, setup = await asyncio.to_thread(self.source.load, self.setup)
            await asyncio.to_thread(router.route, "warm up", pool=setup.pool)
        except (RouterError, OSError) as error:
            logger.error("not reloaded, all stays as it was: %s", error)
            return False
        self.engine.swap(router)
        self.setup = setup
        self.budget.share, self.budget.burst = setup.settings.retry_share, setup.settings.retry_burst
        if gc.get_freeze_count():
            await asyncio.to_thread(leave_to_stay)
        logger.info("reloaded: pool %s of %d models", setup.pool.name, len(setup.pool.candidates))
        return True

    async def close(self) -> None:
        """End what runs; every row of the log is written."""
        self.stopping = True
        await asyncio.to_thread(self.engine.close)
        await self.setup.upstreams.close()
        if self.log is not None:
            await asyncio.to_thread(self.log.close)


@dataclass(frozen=True)
class Source:
    """Where a server's configuration comes from, to be read at the start and at every reload."""

    pool_file: Path
    load_router: Callable[[], Router]
    flags: Mapping[str, Any]  # settings of the command line, which win over the file's

    def load(self, old: Setup | None = None) -> tuple[Router, Setup]:
        """The router and all else. Raises PoolError with every problem of the configuration, or CheckpointError."""
        problems: list[str] = []
        settings = read_settings(self.pool_file, self.flags, problems)
        if old is not None:  # before the bind is judged: the socket stays where it is
            settings = _with_fixed(settings, old.settings)
        router = self.load_router()
        router.unmatched = None  # clients say whom to deny, and this log is not theirs
        pool, wrong = examine_pool(self.pool_file, router.systems)  # the file itself, whatever the checkpoint holds
        problems = [*wrong, *problems]
        if pool is not None and not problems:
            pool = marked(pool, router.checkpoint.onboarded)
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
            raise configuration_error(self.pool_file, problems)
        if isinstance(router.encoder, OnnxEncoder):
            router.encoder.share()
        reach = router.encoder.max_tokens * router.encoder.head_share * 4
        upstreams = Upstreams(pool, settings, os.environ, old.upstreams if old else None)
        return router, Setup(pool, settings, upstreams, keys, max(int(reach), 100))


def _with_fixed(settings: ServeSettings, old: ServeSettings) -> ServeSettings:
    """`settings` but for those that only a restart changes."""
    for name in FIXED:
        if getattr(old, name) != getattr(settings, name):
            logger.warning("serve.%s changes with a restart only", name)
    return replace(settings, **{name: getattr(old, name) for name in FIXED})


def _open_log(settings: ServeSettings) -> DecisionLog | None:
    if settings.decision_log is None:
        return None
    log = DecisionLog(
        settings.decision_log,
        max_bytes=settings.log_max_bytes,
        max_age_s=None if settings.log_max_age_days is None else settings.log_max_age_days * 86_400,
        when_full=settings.when_log_full,  # type: ignore[arg-type]  # one of its literals
        store_prompts=settings.store_prompts,
    )
    log.start()
    return log


def leave_to_stay() -> None:
    """Garbage collections leave out what there is now, once what nobody holds is gone: going through a router's
    words and tables takes 0.1 s, in which no request is answered."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def new_decision_id() -> str:
    """A name that nobody guesses."""
    return f"dec_{secrets.token_hex(12)}"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
