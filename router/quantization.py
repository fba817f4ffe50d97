"""Weight matrices as 8-bit integers with a scale for each output, so that products need a quarter of the memory.

Pure numpy. Axes: I inputs, O outputs of a linear map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Seven bits: with eight, processors without VNNI add pairs of products (255 · 127 · 2) beyond the 16 bits they have for
# them, and would decide otherwise than those that have it.
LEVELS = 63


def quantize(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers (I, O) from -`LEVELS` to `LEVELS` and scales (O,), whose products are nearest to `weight` (O, I).

    >>> whole, scale = quantize(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), (whole * scale).round(2).tolist()
    ([[32, 0], [-63, 0]], [[0.51, 0.0], [-1.0, 0.0]])
    """
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest > 0, largest, LEVELS).astype(np.float32) / np.float32(LEVELS)
    whole = np.rint(weight / scale[:, None]).astype(np.int8)
    return np.ascontiguousarray(whole.T), scale
