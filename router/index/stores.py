"""Vector stores of an index, and how each finds the greatest inner products: three classes with one interface.

    ExactStore  every vector, by one product, in numpy or on a GPU in torch; the one that needs no FAISS
    FlatStore   every vector, in FAISS
    IvfStore    FAISS's inverted lists: clusters of vectors, of which a search reads the most promising

Ids of vectors count from 0; `remove` and `search` take masks over ids; `of_state` is the inverse of `state`. Vectors
are clustered by their places (`LowRankProjection.place`) and scored by inner product, under which there are no
neighbourhoods. FAISS is imported in this module only, on first use.
Axes: N vectors, J columns, F of places, B queries, k results.
"""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, host, like, namespace
from router.index.topk import inner_product_top_k

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
State = dict[str, NDArray[Any]]

LISTS_PER_ROOT = 4  # there are 4 sqrt(N) inverted lists
VECTORS_PER_LIST = 64  # in the sample that k-means is fitted to
ROUNDS = 6  # of k-means
PROBES = 128  # inverted lists that a search reads


@cache
def find_faiss() -> ModuleType | None:
    """The module faiss, or None where it is not installed; the result is cached."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


class ExactStore:
    """All inner products (`router.index.topk`): in numpy on the CPU, in torch on any other device."""

    def __init__(self, short: Floats, place: Floats, ids: Ids, profile_length: int, device: str) -> None:
        self.items, self.ids = _on(short, device), _on(ids, device)

    @property
    def nbytes(self) -> int:
        return self.items.nbytes + self.ids.nbytes

    def add(self, short: Floats, place: Floats, ids: Ids) -> None:
        self.items = concat([self.items, like(short, self.items)])
        self.ids = concat([self.ids, like(ids, self.ids)])

    def remove(self, gone: Mask) -> None:
        kept = like(~gone, self.ids, dtype=namespace(self.ids).bool)[self.ids]
        self.items, self.ids = self.items[kept], self.ids[kept]

    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]:
        mask = None if admitted is None else like(admitted, self.ids, dtype=namespace(self.ids).bool)[self.ids]
        scores, rows = inner_product_top_k(like(query, self.items), self.items, k, mask)
        found = host(rows)
        return host(scores), np.where(found >= 0, host(self.ids)[found], -1)

    def state(self) -> State:
        return {"items": host(self.items), "ids": host(self.ids)}

    @classmethod
    def of_state(cls, state: State, profile_length: int = 0, device: str = "cpu") -> ExactStore:
        return cls(state["items"], np.empty((0, 0), np.float32), state["ids"], profile_length, device)


class FlatStore:
    """FAISS's `IndexFlatIP`; searched on a GPU where the device is one and FAISS supports it."""

    def __init__(self, short: Floats, place: Floats, ids: Ids, profile_length: int, device: str) -> None:
        self.index = _faiss().IndexIDMap2(_faiss().IndexFlatIP(short.shape[1]))
        self.on_gpu = _OnGpu(device)
        self.add(short, place, ids)

    @property
    def nbytes(self) -> int:
        return self.index.ntotal * (4 * self.index.d + 8)

    def add(self, short: Floats, place: Floats, ids: Ids) -> None:
        self.index.add_with_ids(short, ids)
        self.on_gpu.forget()

    def remove(self, gone: Mask) -> None:
        self.index.remove_ids(_selector(gone))
        self.on_gpu.forget()

    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]:
        if admitted is None:
            return self.on_gpu.of(self.index).search(query, k)
        return self.index.search(query, k, params=_faiss().SearchParameters(sel=_selector(admitted)))

    def state(self) -> State:
        return {"faiss": _faiss().serialize_index(self.index)}

    @classmethod
    def of_state(cls, state: State, profile_length: int, device: str) -> FlatStore:
        return _restored(cls, index=_faiss().deserialize_index(state["faiss"]), on_gpu=_OnGpu(device))


class IvfStore(FlatStore):
    """FAISS's `IndexIVFFlat`: lists are clusters of places, and a search chooses lists by an upper estimate of scores.

    A list's estimate is the score of its mean vector plus one standard deviation. For that the vectors have one more
    column, which is 0 in each vector. In a list's mean it holds the root mean square distance of the profiles from
    their mean; in a query, the length of its profile part over the root of the columns. Their product is the standard
    deviation of the members' scores if they vary alike in all directions.
    """

    def __init__(self, short: Floats, place: Floats, ids: Ids, profile_length: int, device: str) -> None:
        faiss, count = _faiss(), len(short)
        lists = max(1, min(round(LISTS_PER_ROOT * math.sqrt(count)), count // 8))
        clusters = faiss.Kmeans(
            place.shape[1],
            lists,
            niter=ROUNDS,
            min_points_per_centroid=1,
            max_points_per_centroid=VECTORS_PER_LIST,
            seed=0,
        )
        clusters.train(place)
        self.places: Floats = clusters.centroids  # (lists, F)
        self.profile_length = profile_length
        nearest = self._nearest(place)
        mean, deviation = _moments(short, nearest, lists, profile_length)
        leaders = faiss.IndexFlatIP(short.shape[1] + 1)
        leaders.add(np.concatenate([mean, deviation[:, None]], axis=1))
        self.index = faiss.IndexIVFFlat(leaders, leaders.d, lists, faiss.METRIC_INNER_PRODUCT)
        self.index.is_trained = True
        self.on_gpu = _OnGpu(device)
        self._put(short, nearest, ids)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.index.nlist * 4 * self.index.d + self.places.nbytes

    def add(self, short: Floats, place: Floats, ids: Ids) -> None:
        self._put(short, self._nearest(place), ids)

    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]:
        length = np.linalg.norm(query[:, : self.profile_length], axis=1, keepdims=True)
        wide = np.concatenate([query, length / math.sqrt(self.profile_length)], axis=1)
        probes, total = PROBES, self.index.ntotal
        options: dict[str, Any] = {}
        if admitted is not None:
            options["sel"] = _selector(admitted)
            probes = math.ceil(PROBES * len(admitted) / max(int(admitted.sum()), 1))
            total = min(total, int(admitted.sum()))
        while True:  # until k are found, or all
            params = _faiss().SearchParametersIVF(nprobe=min(probes, self.index.nlist), **options)
            index = self.on_gpu.of(self.index) if admitted is None else self.index
            scores, ids = index.search(wide, k, params=params)
            if probes >= self.index.nlist or (ids[:, min(k, total) - 1] >= 0).all():
                return scores, ids
            probes *= 4

    def state(self) -> State:
        return {**super().state(), "places": self.places}

    @classmethod
    def of_state(cls, state: State, profile_length: int, device: str) -> IvfStore:
        index = _faiss().deserialize_index(state["faiss"])
        return _restored(cls, index=index, on_gpu=_OnGpu(device), places=state["places"], profile_length=profile_length)

    def _nearest(self, place: Floats) -> Ids:
        """The list (N,) whose centre is nearest to each place."""
        centres = _faiss().IndexFlatL2(self.places.shape[1])
        centres.add(self.places)
        return centres.search(place, 1)[1][:, 0]

    def _put(self, short: Floats, lists: Ids, ids: Ids) -> None:
        faiss = _faiss()
        wide = np.pad(short, ((0, 0), (0, 1)))
        self.index.add_core(len(wide), faiss.swig_ptr(wide), faiss.swig_ptr(ids), faiss.swig_ptr(lists))
        self.on_gpu.forget()


Store = ExactStore | FlatStore  # what `CandidateIndex` uses
KINDS: dict[str, type[Store]] = {"product": ExactStore, "flat": FlatStore, "ivf": IvfStore}


class _OnGpu:
    """Copy of a FAISS index on the device's GPU; the index itself on a CPU or where FAISS has no GPU support."""

    def __init__(self, device: str) -> None:
        self.device, self._copy, self._memory = device, None, None

    def of(self, index: Any) -> Any:
        faiss = _faiss()
        if self.device.partition(":")[0] != "cuda" or not hasattr(faiss, "StandardGpuResources"):
            return index
        if self._copy is None:
            self._memory = self._memory or faiss.StandardGpuResources()
            self._copy = faiss.index_cpu_to_gpu(self._memory, int(self.device.partition(":")[2] or 0), index)
        return self._copy

    def forget(self) -> None:
        """Drop the copy of an index that has changed."""
        self._copy = None


def _on(array: NDArray[Any], device: str) -> Array:
    """The array in numpy on a CPU, as a tensor on any other device."""
    if device.partition(":")[0] == "cpu":
        return array
    import torch

    return torch.from_numpy(array).to(device)


def _faiss() -> Any:
    found = find_faiss()
    assert found is not None, "choose_kind names a store of FAISS only where FAISS is installed"
    return found


def _restored(cls: Any, **parts: Any) -> Any:
    """An instance with these attributes, made without `__init__`."""
    store = cls.__new__(cls)
    vars(store).update(parts)
    return store


def _selector(mask: Mask) -> Any:
    """A mask over ids in FAISS's form."""
    return _faiss().IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _moments(short: Floats, lists: Ids, count: int, profile_length: int) -> tuple[Floats, Floats]:
    """Each list's mean (lists, J), and the root mean square distance (lists,) of its profiles from it."""
    members = np.maximum(np.bincount(lists, minlength=count), 1)
    columns = [np.bincount(lists, short[:, column], count) / members for column in range(short.shape[1])]
    mean = np.stack(columns, axis=1).astype(np.float32)
    square = np.zeros(count)
    for column in range(profile_length):
        square += np.bincount(lists, (short[:, column] - mean[lists, column]) ** 2, count)
    return mean, np.sqrt(square / members).astype(np.float32)
