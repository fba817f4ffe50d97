"""Look-up of pools: by name in a checkpoint, by path in files, each file parsed once until it changes.

Several threads may look up pools at the same time.
"""

import os
import time
from pathlib import Path

from router.checkpoint.added_models import with_revisions
from router.checkpoint.checkpoint import Checkpoint
from router.errors import PoolError, known_names
from router.pools.pool import Pool, read_pool
from router.pools.price_file import price_table

FileStamp = tuple[int, ...]
ENDINGS = (".yaml", ".yml", ".json")
SETTLED_NS = 2 * 10**9  # a younger file may change again within one tick of the file system's clock


def is_pool_path(pool: str | Path) -> bool:
    """Whether `pool` is the path of a file: a `Path`, or a string with a separator or one of ENDINGS.

    >>> is_pool_path("chat27"), is_pool_path("chat27.yaml"), is_pool_path("./chat27"), is_pool_path(Path("chat27"))
    (False, True, True, True)
    """
    separators = [each for each in (os.sep, os.altsep) if each]
    return isinstance(pool, Path) or pool.endswith(ENDINGS) or any(each in pool for each in separators)


class PoolFinder:
    """The pools of a checkpoint by name, and those of files by path, whose profiles are the checkpoint's."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._parsed: dict[Path, tuple[FileStamp, Pool]] = {}  # by absolute path

    def find_pool(self, pool: str | Path | Pool | None = None) -> Pool:
        """A pool by name, by the path of a YAML or JSON file, or as it is; the default pool for None.

        A string that `is_pool_path`, or a `Path`, is a path and never a name. A file is parsed again when it changes.
        Raises PoolError for an unknown name, with the known ones, or as `read_pool`.
        """
        if isinstance(pool, Pool):
            return pool
        known = self.checkpoint.all_pools
        if pool is None:
            return known[self.checkpoint.default_pool]
        if is_pool_path(pool):
            return self._read(Path(pool))
        name = str(pool)
        if name not in known:
            raise PoolError(
                f"unknown pool {name!r}; {known_names(name, known)}; or give a pool file by its path: ./{name}"
            )
        return known[name]

    def _read(self, path: Path) -> Pool:
        key, stamp = path.absolute(), _stamp(path)
        kept = self._parsed.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        pool = read_pool(path, self.checkpoint.all_systems, price_table())
        pool = with_revisions(pool, self.checkpoint.added_models)
        if stamp is not None:
            self._parsed[key] = stamp, pool
        return pool


def _stamp(path: Path) -> FileStamp | None:
    """Numbers that differ when the file differs; None for a file that is missing or too young."""
    try:
        found = path.stat()
    except OSError:
        return None
    if time.time_ns() - found.st_mtime_ns < SETTLED_NS:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
