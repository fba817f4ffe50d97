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

from router.candidates import Candidates, gather_candidates
from router.pools import Pool
from router.roster import Roster
from router.shortlist import Shortlist, is_needed

INDEX_FOLDER = "index"  # inside a checkpoint's folder


class GatheredPools:
    """Candidates and shortlists by pool.

    Args:
        roster: whose profiles the candidates have.
        index: how candidates of large pools are found, one of `router.index.CHOICES`; a kind of its own is also used
            for small ones.
        device: where indexes search.
        folder: the checkpoint's, with the indexes that were saved; None where it is no folder.
    """

    def __init__(self, roster: Roster, index: str, device: str, folder: Path | None = None) -> None:
        self.roster, self.index, self.device = roster, index, device
        self.index_folder = None if folder is None else folder / INDEX_FOLDER
        self.shortlists: dict[Pool, Shortlist] = {}
        self._candidates: dict[Pool, Candidates] = {}
        self._made = threading.RLock()  # that an index is built once

    def candidates(self, pool: Pool) -> Candidates:
        """The pool's arrays, where the learned profiles' are."""
        if pool not in self._candidates:
            roster = self.roster
            self._candidates[pool] = gather_candidates(
                pool, roster.learned, roster.systems, roster.models, roster.spread
            )
        return self._candidates[pool]

    def shortlist(self, pool: Pool) -> Shortlist | None:
        """What proposes candidates of a large pool; None for a pool of which all are scored."""
        if not is_needed(len(pool.candidates), self.index):
            return None
        with self._made:
            if pool not in self.shortlists:
                file = None if self.index_folder is None else index_file(self.index_folder, pool)
                protocols = self.roster.learned.protocols
                self.shortlists[pool] = Shortlist(self.candidates(pool), protocols, self.index, self.device, file)
            return self.shortlists[pool]

    def change(self, before: Pool, after: Pool, kept: Sequence[int]) -> None:
        """`after` has the members `kept` of `before`, in their order, and new ones behind: it takes over the index."""
        if shortlist := self.shortlists.pop(before, None):
            shortlist.change(self.candidates(after), kept)
            self.shortlists[after] = shortlist
        self._candidates.pop(before, None)

    def save(self, folder: Path) -> None:
        """Write the indexes that were made into a checkpoint's folder."""
        for pool, shortlist in self.shortlists.items():
            shortlist.save(index_file(folder / INDEX_FOLDER, pool))


def index_file(folder: Path, pool: Pool) -> Path:
    """Of a name that tells pools of one name apart, and that every file system takes."""
    members = hashlib.sha256("\n".join(pool.ids).encode()).hexdigest()[:8]
    return folder / f"{quote(pool.name, safe=' ')[:80]}-{members}.safetensors"
