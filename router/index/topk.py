"""Top-k search: the k greatest scores of every query over many candidates, without all scores of a batch in memory.

It scores a chunk of candidates at a time, on any device, and keeps only the best of each chunk. Inner products on a GPU
are computed by `router.index.gpu_topk`. Ties may go either way. Axes: B queries, M candidates, k results.
"""

from collections.abc import Callable

import numpy as np

from router.arrays import Array, concat, is_tensor, largest, like, namespace, take_columns

SCORES_AT_ONCE = 1 << 23  # 32 MiB of float32 fit the cache of a large GPU; on a CPU no smaller chunk was faster
GROUP = 32  # neighbouring scores, compared by their maximum first: the k best lie in the k groups of greatest maximum


def top_k(score: Callable[[int, int], Array], count: int, k: int, batch: int) -> tuple[Array, Array]:
    """Values and candidates (B, k), best first, of the scores (B, stop - start) that `score(start, stop)` returns.

    Where fewer than k candidates score above -inf, the value is -inf and the candidate -1.

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
    """The k greatest inner products of `query` (B, J) with `items` (M, J) and their rows, (B, k) both.

    `admitted` (M,) masks the items that may be returned.
    """
    if is_tensor(query) and query.device.type == "cuda" and len(items):
        from router.index.gpu_topk import best_products  # torch is loaded already: a tensor was given

        return best_products(query, items, k, admitted)

    def score(start: int, stop: int) -> Array:
        product = query @ items[start:stop].T
        return product if admitted is None else only(product, admitted[start:stop])

    return top_k(score, len(items), k, len(query))


def only(scores: Array, admitted: Array) -> Array:
    """The scores (B, M), with -inf for candidates that `admitted` (M,) excludes."""
    xp = namespace(scores)
    return xp.where(admitted[None, :], scores, like(-np.inf, scores))


def _best_of_chunk(scores: Array, k: int) -> tuple[Array, Array]:
    """The best (B, min(k, chunk)) of scores (B, chunk) and their columns, in one pass that reduces them GROUP-fold."""
    batch, width = scores.shape
    if width <= 2 * GROUP * k:
        return largest(scores, min(k, width))
    xp, whole = namespace(scores), width // GROUP * GROUP
    leading = largest(xp.max(scores[:, :whole].reshape(batch, -1, GROUP), axis=2), k)[1]  # (B, k)
    each = like(np.arange(width), leading)
    rows = (leading[:, :, None] * GROUP + each[:GROUP]).reshape(batch, -1)
    rows = concat([rows, xp.broadcast_to(each[whole:], (batch, width - whole))], axis=1)
    return _keep(take_columns(scores, rows), rows, k)


def _keep(values: Array, rows: Array, k: int) -> tuple[Array, Array]:
    """The k greatest `values` (B, N), or all of fewer, and their `rows`."""
    best, at = largest(values, min(k, values.shape[1]))
    return best, take_columns(rows, at)
