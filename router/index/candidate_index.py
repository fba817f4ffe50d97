"""Index of item vectors for maximum inner product search: built, changed, searched, saved and loaded.

It stores low-rank vectors only (`LowRankProjection`); the caller scores the proposed items exactly. It knows neither
models nor queries, and of the columns only which are prices.
Axes: N items, V columns of an item, J of a low-rank vector, B queries, k results.
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
from router.index.low_rank import LOST, LowRankProjection
from router.index.stores import KINDS, ExactStore, Floats, Ids, Mask, State, Store, find_faiss
from router.installation import how_to_install
from router.options import HNSW_REMOVED

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
IVF_FROM = 20_000  # of 16,000 items flat and ivf take 0.9 ms a decision, of 100,000 1.6 and 0.9 (docs/performance.md)
INSTALL = f"{how_to_install('index')} brings FAISS (on a GPU: [index-gpu])"
_warned: set[str] = set()


def choose_kind(wanted: str, count: int, device: str) -> str:
    """The kind of store, a key of KINDS, for `count` items, where `wanted` is auto, flat or ivf.

    For `auto` it is the exact product on a GPU; on a CPU FAISS's flat index of few items, its inverted lists of many.
    Without FAISS it is the exact product, and one warning says so.
    """
    if wanted == "auto" and device.partition(":")[0] != "cpu":
        return "product"
    if find_faiss() is None:
        if "faiss" not in _warned:
            _warned.add("faiss")
            logger.warning("FAISS is not installed: large pools are searched by a full product. %s", INSTALL)
        return "product"
    if wanted == "auto":
        return "ivf" if count >= IVF_FROM else "flat"
    return wanted


@dataclass(frozen=True)
class IndexFile:
    """The file of a saved index and the checksum that it must have."""

    path: Path
    sha256: str | None  # None: the checkpoint lists no checksum for it


class CandidateIndex:
    """Item vectors of a pool, and the search for those of greatest inner product.

    Rows are those of `Candidates`: added items come last; after a removal later rows move up.
    """

    def __init__(self, kind: str, projection: LowRankProjection, store: Store, ids: Ids) -> None:
        self.kind, self.projection = kind, projection
        self._store = store
        self._ids = ids  # (N,) the store's id of each row; ascending, never reused
        self._used = int(ids.max(initial=-1)) + 1
        # (N', V) items that low-rank vectors do not represent
        self._outliers = ExactStore.of_state(
            {"items": np.zeros((0, len(projection.of_items)), np.float32), "ids": ids[:0]}
        )

    @classmethod
    def build(
        cls,
        chunks: Callable[[], Iterable[Array]],
        profile_columns: int,
        kind: str,
        device: str = "cpu",
    ) -> CandidateIndex:
        """An index of the item vectors that `chunks()` yields, (N', V) at a time; it is called twice.

        The first `profile_columns` columns are no prices. `kind` is a key of KINDS, see `choose_kind`.
        """
        projection = LowRankProjection.fit(chunks(), profile_columns)
        short = np.concatenate([host(projection.items(chunk)) for chunk in chunks()])
        ids = np.arange(len(short), dtype=np.int64)
        store = KINDS[kind](short, projection.place(short), ids, projection.profile_length, device)
        return cls(kind, projection, store, ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, ids and lists."""
        return self._store.nbytes + self._ids.nbytes + self._outliers.items.nbytes

    def add(self, items: Array) -> None:
        """Add item vectors (N', V) as the last rows.

        An item whose profile lies outside of the projection's directions is kept whole, and every search scores it.
        """
        items = host(items).astype(np.float32)
        new = np.arange(self._used, self._used + len(items), dtype=np.int64)
        outlying = self.projection.outside(items) > LOST
        if not outlying.all():
            short = self.projection.items(items[~outlying])
            self._store.add(short, self.projection.place(short), new[~outlying])
        self._outliers.add(items[outlying], items[:0], new[outlying])
        self._ids, self._used = np.concatenate([self._ids, new]), self._used + len(items)

    def remove(self, rows: Sequence[int]) -> None:
        """Remove rows; UsageError for an unknown row."""
        unknown = [row for row in rows if not 0 <= row < len(self)]
        if unknown:
            raise UsageError(f"rows of this index run from 0 to {len(self) - 1}, got {unknown[:10]}")
        gone = np.zeros(len(self), bool)
        gone[list(rows)] = True
        mask = self._by_id(gone)
        self._store.remove(mask)
        self._outliers.remove(mask)
        self._ids = self._ids[~gone]

    def search(self, search: Array, k: int, admitted: Mask | None = None) -> tuple[Floats, Ids]:
        """Scores and rows (B, k) of the best items, best first; row -1 where there are fewer than k.

        `admitted` masks rows (N,). A search goes on until it has found k admitted items, if there are so many.
        """
        wide = host(search).astype(np.float32, copy=False)
        mask = None if admitted is None else self._by_id(admitted)
        scores, ids = self._store.search(self.projection.searches(wide), k, mask)
        if len(self._outliers.ids):
            own, own_ids = self._outliers.search(wide, k, mask)
            ids, scores = np.concatenate([ids, own_ids], axis=1), np.concatenate([scores, own], axis=1)
            order = np.argsort(np.where(ids < 0, np.inf, -scores), axis=1, kind="stable")[:, :k]
            scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
        return scores, np.where(ids < 0, -1, np.searchsorted(self._ids, ids))

    def save(self, file: str | Path, fingerprint: str) -> None:
        """Write the index to one file, atomically; `fingerprint` identifies the profiles and prices in it."""
        target = Path(file)
        parts = {
            **{f"store.{name}": each for name, each in self._store.state().items()},
            **{f"reduction.{name}": each for name, each in self.projection.arrays().items()},
            "ids": self._ids,
            "stray": self._outliers.items,
            "stray_ids": self._outliers.ids,
        }
        about = {"version": FORMAT_VERSION, "kind": self.kind, "fingerprint": fingerprint, "lost": self.projection.lost}
        about["profile_columns"] = self.projection.profile_columns
        arrays = {name: np.ascontiguousarray(each) for name, each in parts.items()}
        content = safetensors.save(arrays, metadata={"index": json.dumps(about)})
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(target, content)
        except OSError as error:
            raise CheckpointError(f"cannot write the index {target}: {error}") from error

    @classmethod
    def load(cls, saved: IndexFile, fingerprint: str, device: str = "cpu") -> CandidateIndex:
        """The index in a file; CheckpointError where its checksum or its fingerprint is another.

        FAISS reads only bytes whose checksum is right: it is not safe to let it read a crafted file.
        """
        file = saved.path
        about, parts = _read(saved)
        if about.get("kind") == "hnsw":
            raise CheckpointError(f"{file} is of a removed kind: {HNSW_REMOVED}")
        if about.get("version") != FORMAT_VERSION or about.get("kind") not in KINDS:
            raise CheckpointError(f"{file} is an index of another version")
        if about["fingerprint"] != fingerprint:
            raise CheckpointError(f"{file} was built from other profiles or prices")
        if about["kind"] != "product" and find_faiss() is None:
            raise CheckpointError(f"{file} needs FAISS: {INSTALL}")
        try:
            fitted = _under("reduction.", parts)
            projection = LowRankProjection(**fitted, profile_columns=about["profile_columns"], lost=about["lost"])
            kind = KINDS[about["kind"]]
            store = kind.of_state(_under("store.", parts), projection.profile_length, device)
            index = cls(about["kind"], projection, store, parts["ids"])
            index._outliers = ExactStore.of_state({"items": parts["stray"], "ids": parts["stray_ids"]})
        except Exception as error:  # FAISS and numpy raise errors of many kinds for broken content
            raise CheckpointError(f"{file} is damaged: {type(error).__name__}: {error}") from error
        return index

    def _by_id(self, rows: Mask) -> Mask:
        """A mask over rows (N,) as one over ids."""
        mask = np.zeros(self._used, bool)
        mask[self._ids[rows]] = True
        return mask


def _under(prefix: str, parts: State) -> State:
    """The arrays whose names begin with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): each for name, each in parts.items() if name.startswith(prefix)}


def _read(saved: IndexFile) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a saved index; CheckpointError where it is missing, altered or no index."""
    try:
        content = saved.path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{saved.path} cannot be read as an index: {error}") from error
    if hashlib.sha256(content).hexdigest() != saved.sha256:
        why = "has no checksum in the checkpoint" if saved.sha256 is None else "was altered after it was saved"
        raise CheckpointError(f"{saved.path} {why}")
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads((header.get("__metadata__") or {}).get("index", "{}"))
        if not isinstance(about, dict):
            raise ValueError("its header is no JSON object")
        return about, safetensors.load(content)
    except (SafetensorError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{saved.path} cannot be read as an index: {error}") from error
