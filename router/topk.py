"""The k greatest scores of every query over many candidates, without ever holding all scores of a batch.

Candidates are scored a chunk at a time, on any device; of each chunk only the best survive. Ties go to either.
Axes: B queries, M candidates, k results.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCORES_AT_ONCE = 1 << 23  # 32 MiB of float32: stays in the cache of a large GPU; on a CPU no smaller chunk was faster
GROUP = 32  # neighbours that are compared by their greatest first: the k best lie in the k best groups


def top_k(score: Callable[[int, int], Tensor], count: int, k: int, batch: int) -> tuple[Tensor, Tensor]:
    """Values and candidates (B, k), best first, where `score(start, stop)` gives scores (B, stop - start).

    Where there are fewer than k candidates, or they score -inf, the value is -inf and the candidate -1.

    >>> scores = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    >>> top_k(lambda start, stop: scores[:, start:stop], count=4, k=2, batch=1)[1].tolist()
    [[1, 3]]
    """
    chunk = max(SCORES_AT_ONCE // batch // GROUP, 1) * GROUP
    best: tuple[Tensor, Tensor] | None = None
    for start in range(0, count, chunk):
        found, where = _best_of_chunk(score(start, min(start + chunk, count)), k)
        where = where + start
        if best is not None:
            found, where = torch.cat([best[0], found], dim=1), torch.cat([best[1], where], dim=1)
        best = _keep(found, where, k)
    if best is None:
        raise ValueError("there is no candidate to score")
    missing = k - best[0].shape[1]
    values = torch.nn.functional.pad(best[0], (0, missing), value=-torch.inf)
    rows = torch.nn.functional.pad(best[1], (0, missing), value=-1)
    return values, rows.masked_fill(values == -torch.inf, -1)


def inner_product_top_k(query: Tensor, items: Tensor, k: int, admitted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k greatest inner products of `query` (B, J) with `items` (M, J), and their rows, (B, k) both.

    `admitted` (M,) masks the items that may be named.
    """

    def score(start: int, stop: int) -> Tensor:
        product = query @ items[start:stop].T
        return product if admitted is None else product.masked_fill(~admitted[start:stop], -torch.inf)

    return top_k(score, len(items), k, len(query))


def _best_of_chunk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best (B, min(k, chunk)) of scores (B, chunk): one pass over them, the rest on a GROUP-th."""
    batch, width = scores.shape
    if width <= 2 * GROUP * k:
        return scores.topk(min(k, width), dim=1)
    whole = width // GROUP * GROUP
    groups = scores[:, :whole].unflatten(1, (-1, GROUP))
    leading = groups.amax(dim=2).topk(k, dim=1).indices  # (B, k)
    inside = groups.gather(1, leading[:, :, None].expand(-1, -1, GROUP)).flatten(1)
    rows = (leading[:, :, None] * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
    rest = torch.arange(whole, width, device=scores.device).expand(batch, -1)
    return _keep(torch.cat([inside, scores[:, whole:]], dim=1), torch.cat([rows, rest], dim=1), k)


def _keep(values: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    best, at = values.topk(min(k, values.shape[1]), dim=1)
    return best, rows.gather(1, at)
