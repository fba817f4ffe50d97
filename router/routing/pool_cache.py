"""What a router computes once for every pool it is asked for: candidates as arrays, and a large pool's shortlist.

Also where shortlists' indexes lie on disk, and how they follow a pool that changes. Knows no queries. Several threads
may ask at the same time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from router.checkpoint.layout import LAYOUT, add_to_seal, sealed_sha256
from router.checkpoint.roster import Roster
from router.index.candidate_index import IndexFile
from router.index.shortlist import Shortlist, is_needed
from router.policy.candidates import Candidates, gather_candidates
from router.pools.pool import Pool


class GatheredPools:
    """Candidates and shortlists by pool.

    Args:
        roster: whose profiles the candidates have.
        index: how candidates of large pools are found, one of `router.index.candidate_index.CHOICES`; a kind of its
        own is also used
            for small ones.
        device: where indexes search.
        folder: the checkpoint's, with the indexes that were saved; None where it is no folder.
    """

    def __init__(self, roster: Roster, index: str, device: str, folder: Path | None = None) -> None:
        self.roster, self.index, self.device = roster, index, device
        self.folder = folder
        self.shortlists: dict[Pool, Shortlist] = {}
        self._candidates: dict[Pool, Candidates] = {}
        self._made = threading.RLock()  # that an index is built once

    def candidates(self, pool: Pool) -> Candidates:
        """The pool's arrays, where the learned profiles' are."""
        if pool not in self._candidates:
            roster = self.roster
            self._candidates[pool] = gather_candidates(
                pool, roster.learned, roster.systems, roster.models, roster.covariance_factors
            )
        return self._candidates[pool]

    def shortlist(self, pool: Pool) -> Shortlist | None:
        """What proposes candidates of a large pool; None for a pool of which all are scored."""
        if not is_needed(len(pool.candidates), self.index):
            return None
        with self._made:
            if pool not in self.shortlists:
                found = None if self.folder is None else self._sealed(self.folder, pool)
                protocols = self.roster.learned.protocols
                self.shortlists[pool] = Shortlist(self.candidates(pool), protocols, self.index, self.device, found)
            return self.shortlists[pool]

    @staticmethod
    def _sealed(folder: Path, pool: Pool) -> IndexFile | None:
        """The pool's index in a checkpoint's folder, with the sha256 that is in its seal; None where there is none."""
        file = index_file(folder, pool)
        return IndexFile(file, sealed_sha256(folder, file)) if file.is_file() else None

    def change(self, before: Pool, after: Pool, kept: Sequence[int]) -> None:
        """`after` has the members `kept` of `before`, in their order, and new ones behind: it takes over the index."""
        if shortlist := self.shortlists.pop(before, None):
            shortlist.change(self.candidates(after), kept)
            self.shortlists[after] = shortlist
        self._candidates.pop(before, None)

    def save(self, folder: Path) -> None:
        """Write the indexes that were made into a checkpoint's folder, and their sha256 into its seal."""
        for pool in self.shortlists:
            self.save_index(folder, pool)

    def save_index(self, folder: Path, pool: Pool) -> Path | None:
        """As `save`, of one pool, whose index is built if need be; the file, None for a pool that needs none."""
        shortlist = self.shortlist(pool)
        if shortlist is None or shortlist.index is None:
            return None
        file = index_file(folder, pool)
        shortlist.save(file)
        add_to_seal(folder, file)
        return file


def index_file(folder: Path, pool: Pool) -> Path:
    """Inside a checkpoint's folder, of a name that tells pools of one name apart and that every file system takes."""
    members = hashlib.sha256("\n".join(pool.ids).encode()).hexdigest()[:8]
    return folder / LAYOUT.index / f"{quote(pool.name, safe=' ')[:80]}-{members}.safetensors"
