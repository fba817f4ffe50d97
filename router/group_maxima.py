"""The greatest inner product of each group of neighbouring items, for every query, on a GPU: one kernel (Triton).

A product and its maxima in one go: of B x M scores only one in GROUP ever leaves the chip. Scores are rounded as the
tensor cores round (TF32, about three decimal digits), so they tell where to look, not who is best. Without Triton the
same in torch, a chunk at a time. Axes: B queries, M items, J columns, G groups.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

GROUP = 64  # items of a group: fewer would leave more maxima to sort, more would leave more items to score again
SCORES_AT_ONCE = 1 << 25  # of a chunk, without Triton: 128 MiB
BLOCK_QUERIES, BLOCK_ITEMS, BLOCK_COLUMNS = 128, 128, 64  # of a tile of the product
WARPS = 8
PRECISION = "tf32"  # of the kernel's products: "tf32", or "tf32x3", which is nearly float32's
HAS_TRITON = find_spec("triton") is not None

if HAS_TRITON:
    import triton  # type: ignore[import-not-found, unused-ignore]
    import triton.language as tl  # type: ignore[import-not-found, unused-ignore]

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _kernel(  # type: ignore[no-untyped-def]
        query,
        items,
        admitted,
        maxima,
        queries,
        count,
        groups,
        columns: tl.constexpr,
        MASKED: tl.constexpr,
        PRECISION: tl.constexpr,
        SIZE: tl.constexpr,
        ROWS: tl.constexpr,
        ITEMS: tl.constexpr,
        COLUMNS: tl.constexpr,
    ):
        """One tile: ROWS queries by ITEMS items, reduced to ITEMS / SIZE maxima of each query."""
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        item = tl.program_id(1) * ITEMS + tl.arange(0, ITEMS)
        scores = tl.zeros((ROWS, ITEMS), tl.float32)
        for start in range(0, columns, COLUMNS):
            column = start + tl.arange(0, COLUMNS)
            of_query = (row < queries)[:, None] & (column < columns)[None, :]
            of_item = (column < columns)[:, None] & (item < count)[None, :]
            left = tl.load(query + row[:, None].to(tl.int64) * columns + column[None, :], of_query, 0.0)
            right = tl.load(items + item[None, :].to(tl.int64) * columns + column[:, None], of_item, 0.0)
            scores = tl.dot(left, right, scores, input_precision=PRECISION)
        known = item < count
        if MASKED:
            known = known & (tl.load(admitted + item, known, 0) != 0)
        scores = tl.where(known[None, :], scores, float("-inf"))
        best = tl.max(tl.reshape(scores, (ROWS, ITEMS // SIZE, SIZE)), axis=2)
        group = tl.program_id(1) * (ITEMS // SIZE) + tl.arange(0, ITEMS // SIZE)
        place = row[:, None].to(tl.int64) * groups + group[None, :]
        tl.store(maxima + place, best, (row < queries)[:, None] & (group < groups)[None, :])


def group_maxima(query: Tensor, items: Tensor, admitted: Tensor | None = None) -> Tensor:
    """The greatest product (B, G) of each query (B, J) with each GROUP of `items` (M, J) in a row; -inf for none.

    `admitted` (M,) masks items. In float32 on a GPU scores are rounded to TF32.
    """
    fused = HAS_TRITON and query.dtype == torch.float32
    return (fused_maxima if fused else chunked_maxima)(query, items, admitted)


def fused_maxima(query: Tensor, items: Tensor, admitted: Tensor | None = None) -> Tensor:
    """See `group_maxima`; by the kernel, float32 on a GPU."""
    groups = -(-len(items) // GROUP)
    maxima = query.new_empty(len(query), groups)
    grid = -(-len(query) // BLOCK_QUERIES), -(-len(items) // BLOCK_ITEMS)
    mask = items if admitted is None else admitted.to(torch.int8)
    _kernel[grid](
        query.contiguous(),
        items.contiguous(),
        mask,
        maxima,
        len(query),
        len(items),
        groups,
        items.shape[1],
        admitted is not None,
        PRECISION,
        GROUP,
        BLOCK_QUERIES,
        BLOCK_ITEMS,
        BLOCK_COLUMNS,
        num_warps=WARPS,
    )
    return maxima


def chunked_maxima(query: Tensor, items: Tensor, admitted: Tensor | None = None) -> Tensor:
    """See `group_maxima`; by torch alone, a chunk of products at a time."""
    groups = -(-len(items) // GROUP)
    maxima = query.new_full((len(query), groups), -torch.inf)
    chunk = max(SCORES_AT_ONCE // max(len(query), 1) // GROUP, 1) * GROUP
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        for start in range(0, len(items), chunk):
            scores = query @ items[start : start + chunk].T
            if admitted is not None:
                scores.masked_fill_(~admitted[start : start + chunk], -torch.inf)
            whole, first = scores.shape[1] // GROUP, start // GROUP
            part = scores[:, : whole * GROUP].unflatten(1, (whole, GROUP)) if whole else None
            if part is not None:
                maxima[:, first : first + whole] = part.amax(2)
            if whole * GROUP < scores.shape[1]:
                maxima[:, first + whole] = scores[:, whole * GROUP :].amax(1)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return maxima
