"""Where an index keeps its short vectors and how it finds the greatest inner products: four ways, one interface.

    Product   every vector, one product, in numpy or on a GPU in torch: what there is without FAISS
    Flat      every vector, in FAISS
    Ivf       FAISS's inverted lists of vectors that stand together, of which a search reads the most promising
    Hnsw      FAISS's graph of vectors that stand together, along which a search climbs

Each has `add`, `remove`, `search`, `state` and `of_state`. Vectors have ids from 0; `remove` and `search` take masks of
them. Where vectors *stand* (`Reduction.place`) is not what they are scored by: among inner products there are no
neighbourhoods. FAISS is imported here only, and late. Axes: N vectors, J columns, F of places, B queries, k results.
"""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, host, like, namespace
from router.index.topk import inner_product_top_k

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
State = dict[str, NDArray[Any]]

LISTS_PER_ROOT = 4  # inverted lists: 4 sqrt(N)
VECTORS_PER_LIST = 64  # of a sample that k-means is fitted to
ROUNDS = 6  # of k-means
PROBES = 128  # inverted lists that a search reads
NEIGHBOURS = 16  # links of a vector in the graph
EFFORT_OF_BUILDING = 80
EFFORT = 512  # vectors that a search of the graph keeps in view
SPARSE = 0.1  # of the graph's vectors: where fewer are admitted it leads past too many, and all are read instead


@cache
def find_faiss() -> ModuleType | None:
    """FAISS where it is installed. Looked for once; `find_faiss.cache_clear()` looks again."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


class Store(Protocol):
    """What `CandidateIndex` asks of each kind."""

    @property
    def nbytes(self) -> int: ...
    def add(self, short: Floats, place: Floats, ids: Ids) -> None: ...
    def remove(self, gone: Mask) -> None: ...
    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]: ...
    def state(self) -> State: ...


class Product:
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
    def of_state(cls, state: State, profile_length: int, device: str) -> Product:
        return cls(state["items"], np.empty((0, 0), np.float32), state["ids"], profile_length, device)


class Flat:
    """`IndexFlatIP`, on a GPU where FAISS has one and the device is one."""

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
    def of_state(cls, state: State, profile_length: int, device: str) -> Flat:
        return _restored(cls, index=_faiss().deserialize_index(state["faiss"]), on_gpu=_OnGpu(device))


class Ivf:
    """`IndexIVFFlat`, whose lists are clusters of places and are chosen by what their members may score at best.

    A list stands for the mean of its vectors plus their spread: one more column, 0 in every vector, holds the root mean
    square distance of a list's profiles from their mean, and a query's profile part's own length in it makes that one
    standard deviation of the members' scores, were they spread alike in all directions.
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
        mean, spread = _moments(short, nearest, lists, profile_length)
        leaders = faiss.IndexFlatIP(short.shape[1] + 1)
        leaders.add(np.concatenate([mean, spread[:, None]], axis=1))
        self.index = faiss.IndexIVFFlat(leaders, leaders.d, lists, faiss.METRIC_INNER_PRODUCT)
        self.index.is_trained = True
        self.on_gpu = _OnGpu(device)
        self._put(short, nearest, ids)

    @property
    def nbytes(self) -> int:
        return self.index.ntotal * (4 * self.index.d + 8) + self.index.nlist * 4 * self.index.d + self.places.nbytes

    def add(self, short: Floats, place: Floats, ids: Ids) -> None:
        self._put(short, self._nearest(place), ids)

    def remove(self, gone: Mask) -> None:
        self.index.remove_ids(_selector(gone))
        self.on_gpu.forget()

    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]:
        length = np.linalg.norm(query[:, : self.profile_length], axis=1, keepdims=True)
        wide = np.concatenate([query, length / math.sqrt(self.profile_length)], axis=1)
        probes, total = PROBES, self.index.ntotal
        options: dict[str, Any] = {}
        if admitted is not None:
            options["sel"] = _selector(admitted)
            probes = math.ceil(PROBES * len(admitted) / max(int(admitted.sum()), 1))
            total = min(total, int(admitted.sum()))
        while True:  # until k are found, or all that there are
            params = _faiss().SearchParametersIVF(nprobe=min(probes, self.index.nlist), **options)
            index = self.on_gpu.of(self.index) if admitted is None else self.index
            scores, ids = index.search(wide, k, params=params)
            if probes >= self.index.nlist or (ids[:, min(k, total) - 1] >= 0).all():
                return scores, ids
            probes *= 4

    def state(self) -> State:
        return {"faiss": _faiss().serialize_index(self.index), "places": self.places}

    @classmethod
    def of_state(cls, state: State, profile_length: int, device: str) -> Ivf:
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


class Hnsw:
    """A graph of neighbouring places, whose nodes are scored by inner product. What is removed stays as a bare node."""

    def __init__(self, short: Floats, place: Floats, ids: Ids, profile_length: int, device: str) -> None:
        faiss = _faiss()
        self.graph = faiss.IndexHNSWFlat(place.shape[1], NEIGHBOURS, faiss.METRIC_L2)
        self.graph.hnsw.efConstruction = EFFORT_OF_BUILDING
        self.graph.own_fields = False  # its two storages, of places and of vectors, are kept here and take turns
        self.places, self.vectors = self.graph.storage, faiss.IndexFlatIP(short.shape[1])
        self.ids: Ids = np.empty(0, np.int64)  # (N,) of the nodes
        self.gone: Mask = np.zeros(0, bool)  # (N,) nodes
        self.add(short, place, ids)

    @property
    def nbytes(self) -> int:
        hnsw, columns = self.graph.hnsw, self.vectors.d + self.places.d
        return 4 * hnsw.neighbors.size() + len(self.ids) * (4 * columns + 8 + 8 + 4 + 1)

    def add(self, short: Floats, place: Floats, ids: Ids) -> None:
        self._score_by(self.places)
        self.graph.add(place)
        self.vectors.add(short)
        self._score_by(self.vectors)
        self.ids, self.gone = np.concatenate([self.ids, ids]), np.pad(self.gone, (0, len(ids)))

    def remove(self, gone: Mask) -> None:
        self.gone |= gone[self.ids]

    def search(self, query: Floats, k: int, admitted: Mask | None) -> tuple[Floats, Ids]:
        faiss = _faiss()
        options: dict[str, Any] = {}
        total = len(self.ids)
        if admitted is not None or self.gone.any():
            mask = ~self.gone if admitted is None else admitted[self.ids] & ~self.gone
            options["sel"] = _selector(mask)
            total = int(mask.sum())
        if total >= SPARSE * len(self.ids):
            params = faiss.SearchParametersHNSW(efSearch=max(EFFORT, k), **options)
            scores, nodes = self.graph.search(query, k, params=params)
        if total < SPARSE * len(self.ids) or (nodes[:, min(k, total) - 1] < 0).any():
            scores, nodes = self.vectors.search(query, k, params=faiss.SearchParameters(**options))
        return scores, np.where(nodes >= 0, self.ids[nodes], -1)

    def state(self) -> State:
        faiss = _faiss()
        kept = {"graph": self.graph, "places": self.places}  # the graph's own storage, the vectors, goes with it
        return {"ids": self.ids, "gone": self.gone} | {k: faiss.serialize_index(v) for k, v in kept.items()}

    @classmethod
    def of_state(cls, state: State, profile_length: int, device: str) -> Hnsw:
        graph, places = (_faiss().deserialize_index(state[name]) for name in ("graph", "places"))
        graph.own_fields = False
        vectors = _faiss().downcast_index(graph.storage)
        vectors.this.own(True)
        store = _restored(cls, graph=graph, places=places, vectors=vectors, ids=state["ids"], gone=state["gone"])
        store._score_by(vectors)
        return store

    def _score_by(self, storage: Any) -> None:
        self.graph.storage, self.graph.d, self.graph.metric_type = storage, storage.d, storage.metric_type
        self.graph.hnsw.is_similarity = storage.metric_type == _faiss().METRIC_INNER_PRODUCT


KINDS: dict[str, Any] = {"product": Product, "flat": Flat, "ivf": Ivf, "hnsw": Hnsw}


class _OnGpu:
    """The copy of a FAISS index on the device's GPU; itself where there is none, or FAISS has no GPU in it."""

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
        """The index has changed: copy it anew when next asked for."""
        self._copy = None


def _on(array: NDArray[Any], device: str) -> Array:
    """The array where a product on `device` wants it."""
    if device.partition(":")[0] == "cpu":
        return array
    import torch

    return torch.from_numpy(array).to(device)


def _faiss() -> Any:
    found = find_faiss()
    assert found is not None, "CandidateIndex chooses a kind that FAISS is there for"
    return found


def _restored(cls: Any, **parts: Any) -> Any:
    """An instance with these attributes, not built anew."""
    store = cls.__new__(cls)
    vars(store).update(parts)
    return store


def _selector(mask: Mask) -> Any:
    """FAISS's form of a mask over ids."""
    return _faiss().IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _moments(short: Floats, lists: Ids, count: int, profile_length: int) -> tuple[Floats, Floats]:
    """Of each list the mean (lists, J) of its vectors, and the root mean square distance (lists,) of their profiles."""
    members = np.maximum(np.bincount(lists, minlength=count), 1)
    columns = [np.bincount(lists, short[:, column], count) / members for column in range(short.shape[1])]
    mean = np.stack(columns, axis=1).astype(np.float32)
    square = np.zeros(count)
    for column in range(profile_length):
        square += np.bincount(lists, (short[:, column] - mean[lists, column]) ** 2, count)
    return mean, np.sqrt(square / members).astype(np.float32)
