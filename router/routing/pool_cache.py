"""Pool cache: the candidates of each pool as arrays, and the shortlist of a large pool, computed once.

Also keeps the indexes of shortlists on disk, and moves them along when a pool changes. Several threads may use it.
Axes: B queries, M candidates.
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from router.arrays import Array
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import LAYOUT, add_checksum, recorded_checksum
from router.errors import UsageError
from router.index.candidate_index import IndexFile
from router.index.shortlist import Shortlist, is_needed
from router.network.vectors import QueryVectors
from router.options import HNSW_REMOVED, INDEX_CHOICES
from router.policy.candidates import Candidates, gather_candidates
from router.policy.constraints import cost_weights
from router.pools.pool import Pool
from router.routing.request import Request


class PoolCache:
    """Candidates and shortlists by pool.

    Args:
        checkpoint: whose profiles the candidates have.
        index: how candidates of large pools are found, one of `router.options.INDEX_CHOICES`; a kind that is named here
            is used for small pools too.
        device: where indexes search.
        folder: the checkpoint's, with the indexes that were saved; None where it is no folder.
    """

    def __init__(self, checkpoint: Checkpoint, index: str, device: str, folder: Path | None = None) -> None:
        if index not in INDEX_CHOICES:
            allowed = f"index must be one of {', '.join(INDEX_CHOICES)}, got {index!r}"
            raise UsageError(HNSW_REMOVED if index == "hnsw" else allowed)
        self.checkpoint, self.index, self.device = checkpoint, index, device
        self.learned = checkpoint.all_learned
        self.folder = folder
        self.shortlists: dict[Pool, Shortlist] = {}
        self._candidates: dict[Pool, Candidates] = {}
        self._index_lock = threading.Lock()  # so that each index is built once

    def candidates(self, pool: Pool) -> Candidates:
        """The pool's arrays, where the learned profiles' are."""
        found = self._candidates.get(pool)
        if found is None:
            known = self.checkpoint
            found = gather_candidates(pool, self.learned, known.all_systems, known.all_models, known.covariance_factors)
            self._candidates[pool] = found
        return found

    def is_large(self, pool: Pool) -> bool:
        """Whether the pool has a shortlist."""
        return is_needed(len(pool.candidates), self.index)

    def shortlist(self, pool: Pool) -> Shortlist | None:
        """Shortlist that proposes candidates of a large pool; None for a pool whose candidates are all scored."""
        if not self.is_large(pool):
            return None
        with self._index_lock:
            if pool not in self.shortlists:
                found = None if self.folder is None else self._saved_index(self.folder, pool)
                protocols = self.learned.protocols
                self.shortlists[pool] = Shortlist(self.candidates(pool), protocols, self.index, self.device, found)
            return self.shortlists[pool]

    def narrows(self, request: Request) -> bool:
        """Whether the request's pool is large, and its candidates are narrowed to a shortlist."""
        return not request.is_met_by_batch and self.shortlist(request.pool) is not None

    def narrowed(self, request: Request, *readings: tuple[QueryVectors, Array]) -> Candidates:
        """The candidates worth scoring for queries, given their vectors and tokens (B,): of a small pool all.

        `readings` may hold several readings of the same queries: the best candidates of each are among those returned.
        A goal of the batch weighs every candidate.
        """
        candidates = self.candidates(request.pool)
        shortlist = None if request.is_met_by_batch else self.shortlist(request.pool)
        if shortlist is None:
            return candidates
        _, weights = cost_weights(request.dial, len(readings[0][1]), candidates.cost_range_usd)
        demands, top, attitude = request.constraints, request.top, request.attitude
        rows = [shortlist.narrow(*each, weights, demands, top, attitude) for each in readings]
        return candidates.take(np.unique(np.concatenate(rows)))

    @staticmethod
    def _saved_index(folder: Path, pool: Pool) -> IndexFile | None:
        """The pool's index in a checkpoint's folder, with its recorded sha256; None where there is none."""
        file = index_file(folder, pool)
        return IndexFile(file, recorded_checksum(folder, file)) if file.is_file() else None

    def change(self, before: Pool, after: Pool, kept: Sequence[int]) -> None:
        """Hand the index of `before` over to `after`: the members `kept`, in their order, and new ones behind.

        Nothing may be routed to `before` meanwhile.
        """
        if after == before:
            return
        candidates = self.candidates(after)
        with self._index_lock:
            if shortlist := self.shortlists.pop(before, None):
                shortlist.change(candidates, kept)
                self.shortlists[after] = shortlist
        self._candidates.pop(before, None)

    def save(self, folder: Path) -> None:
        """Write the indexes that were made into a checkpoint's folder, and their sha256 into its `config.json`."""
        for pool in list(self.shortlists):
            self.save_index(folder, pool)

    def save_own_index(self, pool: Pool) -> Path | None:
        """`save_index` into the folder of the checkpoint; UsageError where it has none."""
        if self.folder is None:
            raise UsageError("an index is saved into a checkpoint's folder: load the router from one")
        return self.save_index(self.folder, pool)

    def save_index(self, folder: Path, pool: Pool) -> Path | None:
        """As `save`, of one pool, whose index is built if need be; the file, None for a pool that needs none."""
        shortlist = self.shortlist(pool)
        if shortlist is None or shortlist.index is None:
            return None
        file = index_file(folder, pool)
        shortlist.save(file)
        add_checksum(folder, file)
        return file


def index_file(folder: Path, pool: Pool) -> Path:
    """Inside a checkpoint's folder, of a name that tells pools of one name apart and that every file system takes."""
    members = hashlib.sha256("\n".join(pool.ids).encode()).hexdigest()[:8]
    return folder / LAYOUT.index / f"{quote(pool.name, safe=' ')[:80]}-{members}.safetensors"
