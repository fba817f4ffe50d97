"""The k greatest scores of every query over many candidates, without ever holding all scores of a batch.

Candidates are scored a chunk at a time, on any device; of each chunk only the best survive. Inner products on a GPU go
by `router.index.gpu_topk`. Ties go to either.
Axes: B queries, M candidates, k results.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from router.arrays import Array, concat, is_tensor, largest, like, namespace, take_columns

SCORES_AT_ONCE = 1 << 23  # 32 MiB of float32: stays in the cache of a large GPU; on a CPU no smaller chunk was faster
GROUP = 32  # neighbours that are compared by their greatest first: the k best lie in the k best groups


def top_k(score: Callable[[int, int], Array], count: int, k: int, batch: int) -> tuple[Array, Array]:
    """Values and candidates (B, k), best first, where `score(start, stop)` gives scores (B, stop - start).

    Where there are fewer than k candidates, or they score -inf, the value is -inf and the candidate -1.

    >>> scores = np.array([[1.0, 4.0, 2.0, 3.0]])
    >>> top_k(lambda start, stop: scores[:, start:stop], count=4, k=2, batch=1)[1].tolist()
    [[1, 3]]
    """
    chunk = max(SCORES_AT_ONCE // batch // GROUP, 1) * GROUP
    best: tuple[Array, Array] | None = None
    for start in range(0, count, chunk):
        found, where = _best_of_chunk(score(start, min(start + chunk, count)), k)
        where = where + start
        if best is not None:
            found, where = concat([best[0], found], axis=1), concat([best[1], where], axis=1)
        best = _keep(found, where, k)
    if best is None:
        raise ValueError("there is no candidate to score")
    values, rows = best
    xp, missing = namespace(values), (batch, k - values.shape[1])
    if missing[1]:
        values = concat([values, like(np.full(missing, -np.inf), values)], axis=1)
        rows = concat([rows, like(np.full(missing, -1), rows)], axis=1)
    return values, xp.where(values == -xp.inf, like(-1, rows), rows)


def inner_product_top_k(query: Array, items: Array, k: int, admitted: Array | None = None) -> tuple[Array, Array]:
    """The k greatest inner products of `query` (B, J) with `items` (M, J), and their rows, (B, k) both.

    `admitted` (M,) masks the items that may be named.
    """
    if is_tensor(query) and query.device.type == "cuda" and len(items):
        from router.index.gpu_topk import best_products  # of torch, which is loaded: a tensor was given

        return best_products(query, items, k, admitted)

    def score(start: int, stop: int) -> Array:
        product = query @ items[start:stop].T
        return product if admitted is None else only(product, admitted[start:stop])

    return top_k(score, len(items), k, len(query))


def only(scores: Array, admitted: Array) -> Array:
    """The scores (B, M), -inf for those whom `admitted` (M,) does not let pass."""
    xp = namespace(scores)
    return xp.where(admitted[None, :], scores, like(-np.inf, scores))


def _best_of_chunk(scores: Array, k: int) -> tuple[Array, Array]:
    """The best (B, min(k, chunk)) of scores (B, chunk): one pass over them, the rest on a GROUP-th."""
    batch, width = scores.shape
    if width <= 2 * GROUP * k:
        return largest(scores, min(k, width))
    xp, whole = namespace(scores), width // GROUP * GROUP
    groups = scores[:, :whole].reshape(batch, -1, GROUP)
    leading = largest(xp.max(groups, axis=2), k)[1]  # (B, k)
    each = like(np.arange(width), leading)
    rows = (leading[:, :, None] * GROUP + each[:GROUP]).reshape(batch, -1)
    rows = concat([rows, xp.broadcast_to(each[whole:], (batch, width - whole))], axis=1)
    return _keep(take_columns(scores, rows), rows, k)


def _keep(values: Array, rows: Array, k: int) -> tuple[Array, Array]:
    best, at = largest(values, min(k, values.shape[1]))
    return best, take_columns(rows, at)
