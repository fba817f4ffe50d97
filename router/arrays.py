"""Array helpers for numpy and torch: operations whose names differ between the two libraries.

Code that serves a query is written once, against the Python array API (`namespace`): on numpy arrays it needs no torch,
on tensors it computes on their device. `Array` stands for either in annotations; shapes are in the docstrings.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array
from array_api_compat import numpy as numpy_namespace
from numpy.typing import NDArray

SORTED_WHOLE = 64  # columns below which sorting all is faster than finding the first few before sorting them
Array = Any  # NDArray or Tensor; all arrays of a call are of one kind and on one device


def namespace(array: Array) -> Any:
    """The library of an array, numpy or torch, with the names of the array API."""
    return numpy_namespace if type(array) is np.ndarray else array_namespace(array)  # a short cut for the frequent case


def is_tensor(array: Array) -> bool:
    """Whether the array is a torch tensor."""
    return type(array) is not np.ndarray and bool(is_torch_array(array))


def like(values: Any, array: Array, *, dtype: Any = None) -> Array:
    """`values` (numbers, lists, an array) with the library and device of `array`, and its dtype unless one is given."""
    if not is_tensor(array):
        return np.asarray(values, dtype or array.dtype)
    return namespace(array).asarray(values, dtype=dtype or array.dtype, device=device(array))


def host(array: Array) -> NDArray[Any]:
    """The same numbers as a numpy array, without a copy where `array` is one."""
    return array.detach().cpu().numpy() if is_tensor(array) else np.asarray(array)


def linear(features: Array, weight: Array, bias: Array) -> Array:
    """`features` (B, F) times `weight` (N, F) transposed, plus `bias` (N,): (B, N).

    >>> linear(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, -1.0]]), np.array([0.5, 0.0])).tolist()
    [[3.5, -2.0]]
    """
    if is_tensor(features):
        import torch  # loaded already, since `features` is a tensor

        return torch.addmm(bias, features, weight.T)
    return features @ weight.T + bias


def sigmoid(logits: Array) -> Array:
    """The logistic function, in (0, 1).

    >>> sigmoid(np.array([0.0, -800.0])).tolist()
    [0.5, 0.0]
    """
    if is_tensor(logits):
        return logits.sigmoid()
    small = np.exp(-np.abs(logits))  # never overflows
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def clipped_sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function of logits clipped to ±30, so that a fit never meets a probability of exactly 0 or 1.

    >>> clipped_sigmoid(np.array([0.0, -800.0])).tolist()
    [0.5, 9.357622968839299e-14]
    """
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def one_hot(labels: Array, count: int, array: Array) -> Array:
    """Rows (N, count) of zeros with a one at each label (N,), of the dtype of `array`."""
    xp = namespace(array)
    return xp.astype(labels[:, None] == xp.arange(count, device=device(array))[None, :], array.dtype)


def largest(values: Array, k: int) -> tuple[Array, Array]:
    """The k greatest values of each row of `values` (B, N) and their columns, both (B, k), greatest first; k <= N.

    >>> largest(np.array([[1.0, 4.0, 2.0]]), 2)[1].tolist()
    [[1, 2]]
    """
    if is_tensor(values):
        found = values.topk(k, dim=1)
        return found.values, found.indices
    if k < values.shape[1]:
        columns = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    else:
        columns = np.broadcast_to(np.arange(k), values.shape)
    order = np.argsort(-np.take_along_axis(values, columns, axis=1), axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, axis=1)
    return np.take_along_axis(values, columns, axis=1), columns


def take_columns(values: Array, columns: Array) -> Array:
    """The entries (B, k) of each row of `values` (B, N) at `columns` (B, k)."""
    if is_tensor(values):
        return values.gather(1, columns)
    return values[np.arange(len(values))[:, None], columns]


def first(keys: Sequence[Array], k: int) -> Array:
    """The first min(k, N) columns of each row in rising order of the last of `keys` (B, N each).

    The key before it breaks ties, and so on; columns that are equal in all keys keep their order.

    >>> first([np.array([[3, 1, 2]]), np.array([[0, 0, -1]])], 2).tolist()
    [[2, 1]]
    """
    last = keys[-1]
    if is_tensor(last):
        order = keys[0].argsort(dim=1, stable=True)
        for key in keys[1:]:
            order = order.gather(1, key.gather(1, order).argsort(dim=1, stable=True))
        return order[:, :k]
    if last.shape[1] < max(k + 1, SORTED_WHOLE):
        return np.lexsort(tuple(keys), axis=1)[:, :k]
    most = np.partition(last, k - 1, axis=1)[:, k - 1]
    found = np.empty((len(last), k), np.intp)
    for row, bound in enumerate(most):
        at = np.flatnonzero(~(last[row] > bound))  # NaN too, which comes last
        found[row] = at[np.lexsort([key[row, at] for key in keys])[:k]]
    return found


def concat(parts: Sequence[Array], axis: int = 0) -> Array:
    """The arrays joined along `axis`."""
    return namespace(parts[0]).concat(list(parts), axis=axis)
