"""LayerNorm on a GPU: a Triton kernel for short rows.

One warp holds several rows in its registers. Torch takes a block of threads for each row: on MiniLM's rows of 384
numbers that costs four times as much as moving the bytes (docs/performance.md). Without Triton, torch's LayerNorm is
used. Axes: N rows, E numbers of a row.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

HELD = 2048  # numbers in a warp, 64 in each thread: four rows of 384, padded to 512. On sm_90 that takes 96 registers
HAS_TRITON = find_spec("triton") is not None

if HAS_TRITON:
    import triton
    import triton.language as tl

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]
    def _kernel(  # type: ignore[no-untyped-def]
        hidden, weight, bias, result, rows, eps, SIZE: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr
    ):
        """One tile of ROWS whole rows, computed in float32."""
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        column = tl.arange(0, PADDED)
        known = column < SIZE
        held = (row < rows)[:, None] & known[None, :]
        place = row[:, None] * SIZE + column[None, :]
        value = tl.load(hidden + place, held, 0.0).to(tl.float32)
        centred = tl.where(held, value - tl.sum(value, axis=1)[:, None] / SIZE, 0.0)
        scale = tl.rsqrt(tl.sum(centred * centred, axis=1) / SIZE + eps)
        slope = tl.load(weight + column, known, 0.0).to(tl.float32)
        shift = tl.load(bias + column, known, 0.0).to(tl.float32)
        normalised = centred * scale[:, None] * slope[None, :] + shift[None, :]
        tl.store(result + place, normalised.to(result.dtype.element_ty), held)


def layer_norm(hidden: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm (1607.06450) of the rows of `hidden` (N, E) with `weight` and `bias` (E,), in the dtype of `hidden`."""
    fused = HAS_TRITON and hidden.device.type == "cuda" and hidden.shape[1] <= HELD
    return (fused_layer_norm if fused else torch_layer_norm)(hidden, weight, bias, eps)


def torch_layer_norm(hidden: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`layer_norm` by torch."""
    return F.layer_norm(hidden, hidden.shape[1:], weight, bias, eps)


def fused_layer_norm(hidden: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`layer_norm` by the Triton kernel, for E of at most HELD."""
    rows, size = hidden.shape
    result = torch.empty_like(hidden, memory_format=torch.contiguous_format)
    padded = triton.next_power_of_2(size)
    at_once = HELD // padded
    grid = (-(-rows // at_once),)
    with torch.cuda.device_of(hidden):  # Triton launches on the current device
        _kernel[grid](hidden.contiguous(), weight, bias, result, rows, eps, size, padded, at_once, num_warps=1)
    return result
