"""Pools in files, by path: what of a request's `pool` is a path, and each file parsed once until it changes.

Knows no names of pools: what is no path is looked up elsewhere. Several threads may ask at the same time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from router.checkpoint.added_models import Onboarded, marked
from router.pools.models import System
from router.pools.pool import Pool, read_pool

ENDINGS = (".yaml", ".yml", ".json")
SETTLED_NS = 2 * 10**9  # a younger file may be written again within one tick of the file system's clock


def is_pool_path(pool: str | Path) -> bool:
    """Whether a pool is named by the path of its file, whatever pools the checkpoint has.

    >>> is_pool_path("chat27"), is_pool_path("chat27.yaml"), is_pool_path("./chat27"), is_pool_path(Path("chat27"))
    (False, True, True, True)
    """
    separators = [each for each in (os.sep, os.altsep) if each]
    return isinstance(pool, Path) or pool.endswith(ENDINGS) or any(each in pool for each in separators)


class PoolFiles:
    """The pools of files, their profiles looked up among `systems`."""

    def __init__(self, systems: Collection[System], onboarded: Onboarded) -> None:
        self.systems, self.onboarded = systems, onboarded
        self._kept: dict[Path, tuple[tuple[int, ...], Pool]] = {}  # by absolute path, with what told the file apart

    def read(self, path: str | Path) -> Pool:
        """The pool in a file, parsed anew where the file is another by now. PoolError as `read_pool`."""
        path = Path(path)
        key, stamp = path.absolute(), _stamp(path)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        pool = marked(read_pool(path, self.systems), self.onboarded)
        if stamp is not None:
            self._kept[key] = stamp, pool
        return pool


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes with the file; None for one that is not there, or too young to tell."""
    try:
        found = path.stat()
    except OSError:
        return None
    if time.time_ns() - found.st_mtime_ns < SETTLED_NS:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
