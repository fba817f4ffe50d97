"""Top-k inner products on a GPU, in two passes: a rough maximum per group of items, then the best groups exactly.

The first pass is one Triton kernel, so that only one in GROUP of the B x M products leaves the chip; without Triton it
is torch, a chunk at a time. The kernel rounds as the tensor cores do (TF32, about three decimal digits), so its maxima
only select groups. The second pass scores the members of the selected groups in float32, at torch's matmul precision.
If more than SLACK groups hold items that TF32 cannot tell apart, an item as good as the best to within that rounding
may take its place. Axes: B queries, M items, J columns, G groups, k results.
"""

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP = 64  # items in a group: smaller groups mean more maxima to sort, larger ones more items to score again
SLACK = 8  # groups read beside the k best: the first pass rounds, so that close groups may swap places
NUMBERS_AT_ONCE = 1 << 28  # gathered from items in the second pass: 1 GiB
SCORES_AT_ONCE = 1 << 25  # in a chunk of the first pass without Triton: 128 MiB
BLOCK_QUERIES, BLOCK_ITEMS, BLOCK_COLUMNS = 128, 128, 64  # the size of a kernel's tile
MOST_ITEMS = 65535 * BLOCK_ITEMS  # the limit of the kernel's grid
WARPS = 8
PRECISION = "tf32"  # of the kernel's products; "tf32x3" is nearly float32
HAS_TRITON = find_spec("triton") is not None

if HAS_TRITON:
    import triton
    import triton.language as tl

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


def best_products(query: Tensor, items: Tensor, k: int, admitted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Values and rows (B, k), best first, of the greatest products of `query` (B, J) with `items` (M, J), M >= 1.

    `admitted` (M,) masks the items that may be returned. Where fewer than k may, the value is -inf and the row -1.
    """
    maxima = group_maxima(query, items, admitted)
    groups = maxima.topk(min(k + SLACK, maxima.shape[1]), dim=1).indices
    rows = (groups[:, :, None] * GROUP + torch.arange(GROUP, device=groups.device)).flatten(1)
    at_once = max(NUMBERS_AT_ONCE // max(rows.shape[1] * items.shape[1], 1), 1)
    parts = zip(query.split(at_once), rows.split(at_once), strict=True)
    found = [_best_of(part, items, its_rows, k, admitted) for part, its_rows in parts]
    return torch.cat([values for values, _ in found]), torch.cat([rows for _, rows in found])


def _best_of(query: Tensor, items: Tensor, rows: Tensor, k: int, admitted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values and rows (B, k) of the best items among `rows` (B, N); rows beyond the last item do not count."""
    held = rows.clamp(max=len(items) - 1)
    scores = (items[held] @ query[:, :, None])[:, :, 0]
    missing = rows >= len(items) if admitted is None else (rows >= len(items)) | ~admitted[held]
    values, at = scores.masked_fill(missing, -torch.inf).topk(min(k, scores.shape[1]), dim=1)
    chosen = rows.gather(1, at).masked_fill(values == -torch.inf, -1)
    short = (0, k - values.shape[1])
    return F.pad(values, short, value=-torch.inf), F.pad(chosen, short, value=-1)


def group_maxima(query: Tensor, items: Tensor, admitted: Tensor | None = None) -> Tensor:
    """The greatest product (B, G) of each query (B, J) with each group of GROUP successive `items` (M, J), or -inf.

    `admitted` (M,) masks items.
    """
    fused = HAS_TRITON and query.dtype == torch.float32 and len(items) <= MOST_ITEMS
    return (fused_maxima if fused else chunked_maxima)(query, items, admitted)


def fused_maxima(query: Tensor, items: Tensor, admitted: Tensor | None = None) -> Tensor:
    """`group_maxima` by the Triton kernel, for float32 on a GPU."""
    groups = -(-len(items) // GROUP)
    maxima = query.new_empty(len(query), groups)
    grid = -(-len(query) // BLOCK_QUERIES), -(-len(items) // BLOCK_ITEMS)
    mask = items if admitted is None else admitted.to(torch.int8)  # `items` is a pointer that the kernel does not read
    with torch.cuda.device_of(query):  # Triton launches on the current device
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
    """`group_maxima` by torch, a chunk of products at a time, at torch's matmul precision."""
    chunk = max(SCORES_AT_ONCE // max(len(query), 1) // GROUP, 1) * GROUP
    maxima = []
    for start in range(0, len(items), chunk):
        scores = query @ items[start : start + chunk].T
        if admitted is not None:
            scores.masked_fill_(~admitted[start : start + chunk], -torch.inf)
        if rest := -scores.shape[1] % GROUP:  # the last group is not full
            scores = F.pad(scores, (0, rest), value=-torch.inf)
        maxima.append(scores.unflatten(1, (-1, GROUP)).amax(2))
    return torch.cat(maxima, dim=1)
