"""8-bit quantisation of weight matrices in blocks, for a quarter of the memory traffic.

Each block of a row has its own scale. Blocks are short because the activations, which are rounded block by block too,
have outliers. With one scale per text and one per output, embeddings moved 27 times as far. Pure numpy. Axes: I inputs
and O outputs of a linear map, N blocks of a row.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from router.onnx.weights import Stored

INTEGERS = "integers"  # what graphs call the file of `quantized_file`, which is made in memory and never written
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


def quantized_file(matrices: Iterable[NDArray[np.float32]]) -> bytes:
    """The integers and scales of matrices (O, I), one after the other; `places` says where."""
    return b"".join(part.tobytes() for matrix in matrices for part in quantize(matrix))


def places(shapes: Sequence[tuple[int, ...]]) -> list[tuple[Stored, Stored]]:
    """Where the integers (O, N, BLOCK) and the scales (O, N) of matrices of these shapes (O, I) lie in the file.

    >>> [(whole.offset, scale.offset) for whole, scale in places([(2, 33), (1, 8)])]
    [(0, 128), (144, 176)]
    """
    found, offset = [], 0
    for outputs, inputs in shapes:
        blocks = -(-inputs // BLOCK)
        whole = Stored("U8", (outputs, blocks, BLOCK), offset, outputs * blocks * BLOCK)
        scale = Stored("F32", (outputs, blocks), offset + whole.length, 4 * outputs * blocks)
        found.append((whole, scale))
        offset = scale.offset + scale.length
    return found
