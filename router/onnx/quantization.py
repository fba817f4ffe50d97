"""8-bit quantisation of weight matrices in blocks, for a quarter of the memory traffic.

Each block of a row has its own scale. Blocks are short because the activations, which are rounded block by block too,
have outliers. With one scale per text and one per output, embeddings moved 27 times as far. Pure numpy. Axes: I inputs
and O outputs of a linear map, N blocks of a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # numbers that share a scale
LEVELS = 127
MIDDLE = 128  # stands for 0 in onnxruntime


def quantize(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Integers (O, N, BLOCK) around `MIDDLE` and scales (O, N) whose products are nearest to `weight` (O, I).

    >>> whole, scale = quantize(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.shape, whole[:, 0, :3].tolist()
    ((2, 1, 32), [[192, 1, 128], [128, 128, 128]])
    >>> ((whole[0, 0, :2] - 128.0) * scale[0]).round(3).tolist()
    [0.504, -1.0]
    """
    outputs, inputs = weight.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = weight
    padded = padded.reshape(outputs, blocks, BLOCK)
    largest = np.abs(padded).max(axis=2)
    scale = np.where(largest > 0, largest, LEVELS).astype(np.float32) / np.float32(LEVELS)
    return (np.rint(padded / scale[..., None]) + MIDDLE).astype(np.uint8), scale
