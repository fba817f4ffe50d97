"""The index of a large pool: proposes the k candidates of greatest linearised utility, of a kind chosen by size.

Holds short vectors only (`Reduction`); whoever searches scores the proposed exactly. Knows neither models nor queries,
nor what their columns mean beyond which are prices. Axes: N items, V columns of an item, J short, B queries, k results.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from router.arrays import Array, host
from router.errors import CheckpointError, UsageError
from router.files import atomic_write
from router.index.reduction import LOST, Reduction
from router.index.stores import KINDS, Floats, Ids, Mask, State, Store, find_faiss
from router.installation import how_to_install
from router.options import INDEX_CHOICES

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
IVF_FROM = 20_000  # of 16,000 items flat and ivf take 0.9 ms a decision, of 100,000 1.6 and 0.9 (docs/performance.md)
INSTALL = f"{how_to_install('index')} brings FAISS (on a GPU: [index-gpu])"
_told: set[str] = set()


def choose_kind(wanted: str, count: int, device: str) -> str:
    """The kind (a key of KINDS) for `count` items; one warning where FAISS would be used and is not installed.

    `auto` reads every vector of few items and of items on a GPU, where one product for all queries is the faster, and
    lists of those on a CPU. Raises UsageError for another `wanted` than auto, flat, ivf or hnsw.
    """
    if wanted not in INDEX_CHOICES or wanted == "exact":
        raise UsageError(f"an index is one of {', '.join(c for c in INDEX_CHOICES if c != 'exact')}, got {wanted!r}")
    if wanted == "auto" and device.partition(":")[0] != "cpu":
        return "product"
    if find_faiss() is None:
        if "faiss" not in _told:
            _told.add("faiss")
            logger.warning("FAISS is not installed: large pools are searched by a full product. %s", INSTALL)
        return "product"
    if wanted == "auto":
        return "ivf" if count >= IVF_FROM else "flat"
    return wanted


@dataclass(frozen=True)
class SealedFile:
    """A file and what it must hold."""

    path: Path
    sha256: str | None  # None: nothing vouches for it


class CandidateIndex:
    """The item vectors of a pool, by the pool's rows, and which of them score highest with a search vector.

    Rows are those of `Candidates`: what is added comes behind, and where rows are removed later ones move up.
    """

    def __init__(self, kind: str, reduction: Reduction, store: Store, ids: Ids) -> None:
        self.kind, self.reduction = kind, reduction
        self._store = store
        self._ids = ids  # (N,) what the store calls each row; ascending, never used again
        self._used = int(ids.max(initial=-1)) + 1
        self._stray: Floats = np.zeros(
            (0, len(reduction.of_items)), np.float32
        )  # (N', V) items that short vectors cannot hold
        self._stray_ids: Ids = np.zeros(0, np.int64)

    @classmethod
    def build(
        cls,
        chunks: Callable[[], Iterable[Array]],
        profile_columns: int,
        kind: str,
        device: str = "cpu",
    ) -> CandidateIndex:
        """From item vectors, (N', V) at a time, gone through twice; the first `profile_columns` are no prices.

        `kind` is a key of KINDS, see `choose_kind`.
        """
        reduction = Reduction.fit(chunks(), profile_columns)
        short = np.concatenate([host(reduction.items(chunk)) for chunk in chunks()])
        ids = np.arange(len(short), dtype=np.int64)
        store = KINDS[kind](short, reduction.place(short), ids, reduction.profile_length, device)
        return cls(kind, reduction, store, ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, ids, lists and links."""
        return self._store.nbytes + self._ids.nbytes + self._stray.nbytes

    def add(self, items: Array) -> None:
        """Add item vectors (N', V) as rows behind the others.

        An item whose profile leaves the directions that the index was built on is kept as it is and always scored.
        """
        items = host(items).astype(np.float32)
        new = np.arange(self._used, self._used + len(items), dtype=np.int64)
        stray = self.reduction.outside(items) > LOST
        if not stray.all():
            short = self.reduction.items(items[~stray])
            self._store.add(short, self.reduction.place(short), new[~stray])
        self._stray = np.concatenate([self._stray, items[stray]])
        self._stray_ids = np.concatenate([self._stray_ids, new[stray]])
        self._ids, self._used = np.concatenate([self._ids, new]), self._used + len(items)

    def remove(self, rows: Sequence[int]) -> None:
        """Take rows out; UsageError for one that is not there."""
        unknown = [row for row in rows if not 0 <= row < len(self)]
        if unknown:
            raise UsageError(f"rows of this index run from 0 to {len(self) - 1}, got {unknown[:10]}")
        gone = np.zeros(len(self), bool)
        gone[list(rows)] = True
        mask = self._by_id(gone)
        self._store.remove(mask)
        kept = ~mask[self._stray_ids]
        self._stray, self._stray_ids = self._stray[kept], self._stray_ids[kept]
        self._ids = self._ids[~gone]

    def search(self, search: Array, k: int, admitted: Mask | None = None) -> tuple[Floats, Ids]:
        """Scores and rows (B, k), best first, of the items that score highest; row -1 where there are fewer than k.

        `admitted` masks rows (N,). With it there still are k wherever so many are admitted: a search reads on for them.
        """
        wide = host(search).astype(np.float32, copy=False)
        mask = None if admitted is None else self._by_id(admitted)
        scores, ids = self._store.search(self.reduction.searches(wide), k, mask)
        if len(self._stray_ids):
            own = wide @ self._stray.T
            own_ids = np.broadcast_to(self._stray_ids, own.shape)
            if mask is not None:
                own_ids = np.where(mask[self._stray_ids], own_ids, -1)
            ids, scores = np.concatenate([ids, own_ids], axis=1), np.concatenate([scores, own], axis=1)
            order = np.argsort(np.where(ids < 0, np.inf, -scores), axis=1, kind="stable")[:, :k]
            scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
        return scores, np.where(ids < 0, -1, np.searchsorted(self._ids, ids))

    def save(self, file: str | Path, fingerprint: str) -> None:
        """Write one file, whole or not at all; `fingerprint` names what the index was built of."""
        target = Path(file)
        parts = {
            **{f"store.{name}": each for name, each in self._store.state().items()},
            **{f"reduction.{name}": each for name, each in self.reduction.arrays().items()},
            "ids": self._ids,
            "stray": self._stray,
            "stray_ids": self._stray_ids,
        }
        about = {"version": FORMAT_VERSION, "kind": self.kind, "fingerprint": fingerprint, "lost": self.reduction.lost}
        about["profile_columns"] = self.reduction.profile_columns
        arrays = {name: np.ascontiguousarray(each) for name, each in parts.items()}
        content = safetensors.save(arrays, metadata={"index": json.dumps(about)})
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(target, content)
        except OSError as error:
            raise CheckpointError(f"cannot write the index {target}: {error}") from error

    @classmethod
    def load(cls, saved: SealedFile, fingerprint: str, device: str = "cpu") -> CandidateIndex:
        """The index in a file; CheckpointError where it is not as sealed, or was built of something else.

        FAISS is given no byte that the seal does not vouch for: its format was not made for those of strangers.
        """
        file = saved.path
        about, parts = _read(saved)
        if about.get("version") != FORMAT_VERSION or about.get("kind") not in KINDS:
            raise CheckpointError(f"{file} is an index of another version")
        if about["fingerprint"] != fingerprint:
            raise CheckpointError(f"{file} was built of other profiles or prices")
        if about["kind"] != "product" and find_faiss() is None:
            raise CheckpointError(f"{file} needs FAISS: {INSTALL}")
        try:
            fitted = _under("reduction.", parts)
            reduction = Reduction(**fitted, profile_columns=about["profile_columns"], lost=about["lost"])
            kind = KINDS[about["kind"]]
            store = kind.of_state(_under("store.", parts), reduction.profile_length, device)
            index = cls(about["kind"], reduction, store, parts["ids"])
            index._stray, index._stray_ids = parts["stray"], parts["stray_ids"]
        except Exception as error:  # FAISS and the tables raise their own for bytes that are not theirs
            raise CheckpointError(f"{file} is damaged: {type(error).__name__}: {error}") from error
        return index

    def _by_id(self, rows: Mask) -> Mask:
        """A mask over rows (N,) as one over ids."""
        mask = np.zeros(self._used, bool)
        mask[self._ids[rows]] = True
        return mask


def _under(prefix: str, parts: State) -> State:
    return {name.removeprefix(prefix): each for name, each in parts.items() if name.startswith(prefix)}


def _read(saved: SealedFile) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        content = saved.path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{saved.path} is no index that can be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != saved.sha256:
        why = "is not in the checkpoint's seal" if saved.sha256 is None else "was altered since it was sealed"
        raise CheckpointError(f"{saved.path} {why}")
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads((header.get("__metadata__") or {}).get("index", "{}"))
        if not isinstance(about, dict):
            raise ValueError("its header is no JSON object")
        return about, safetensors.load(content)
    except (SafetensorError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{saved.path} is no index that can be read: {error}") from error
