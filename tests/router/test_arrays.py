"""One code for numpy arrays and tensors: what the two spell differently gives the same numbers."""

import math

import numpy as np
import pytest
import torch

from router import arrays

B, N, K = 3, 7, 4
VALUES = np.random.default_rng(0).normal(size=(B, N)).astype(np.float32)


def test_a_sigmoid_is_the_same_on_an_array_and_on_a_tensor():
    found, expected = arrays.sigmoid(10 * VALUES), arrays.sigmoid(torch.from_numpy(10 * VALUES))
    assert found.dtype == np.float32 and isinstance(expected, torch.Tensor)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_a_linear_layer_is_torchs():
    weight, bias = VALUES[:2], np.array([1.0, -1.0], np.float32)
    expected = torch.nn.functional.linear(*map(torch.from_numpy, (VALUES, weight, bias)))
    np.testing.assert_allclose(arrays.linear(VALUES, weight, bias), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(arrays.linear(*map(torch.from_numpy, (VALUES, weight, bias))), expected)


@pytest.mark.parametrize("k", [1, K, N])
def test_the_largest_come_in_falling_order_with_their_columns(k):
    values, columns = arrays.largest(VALUES, k)
    expected = torch.from_numpy(VALUES).topk(k, dim=1)
    assert values.tolist() == expected.values.tolist() and columns.tolist() == expected.indices.tolist()
    assert arrays.largest(torch.from_numpy(VALUES), k)[1].tolist() == columns.tolist()


def test_one_hot_rows_have_the_dtype_of_another_array():
    for labels, like in ((np.array([2, 0]), VALUES), (torch.tensor([2, 0]), torch.from_numpy(VALUES))):
        rows = arrays.one_hot(labels, 3, like)
        assert rows.tolist() == [[0, 0, 1], [1, 0, 0]] and rows.dtype == like.dtype


def test_columns_are_taken_row_by_row():
    columns = np.array([[1, 0], [6, 6], [2, 5]])
    expected = [[row[i] for i in each] for row, each in zip(VALUES.tolist(), columns.tolist(), strict=True)]
    assert arrays.take_columns(VALUES, columns).tolist() == expected
    assert arrays.take_columns(torch.from_numpy(VALUES), torch.from_numpy(columns)).tolist() == expected


def test_equal_keys_are_told_apart_by_the_key_before_them():
    keys = [np.array([[2, 1, 0, 3.0]]), np.array([[0, 0, 1, 1.0]]), np.array([[5, 5, 5, 4.0]])]
    for k, expected in ((4, [[3, 1, 0, 2]]), (2, [[3, 1]]), (9, [[3, 1, 0, 2]])):
        assert arrays.first(keys, k).tolist() == expected
        assert arrays.first([torch.from_numpy(key) for key in keys], k).tolist() == expected


@pytest.mark.parametrize("k", [1, 3, 63, 64, 65, 200, 300])
def test_the_first_few_of_many_columns_are_those_of_all_in_order(k):
    rng = np.random.default_rng(k)
    keys = [rng.integers(0, 3, (4, 200)).astype(float) for _ in range(3)]  # with many ties
    keys[-1][0, 5:] = np.inf
    keys[-1][1, 2:] = np.nan
    whole = np.lexsort(tuple(keys), axis=1)[:, :k]
    assert np.array_equal(arrays.first(keys, k), whole)
    assert np.array_equal(arrays.first([torch.from_numpy(key) for key in keys], k)[[0, 2, 3]], whole[[0, 2, 3]])


def test_values_become_what_another_array_is():
    double = torch.zeros(1, dtype=torch.float64)
    made = arrays.like([1, 2], double)
    assert made.dtype == torch.float64 and made.tolist() == [1, 2]
    assert arrays.like(torch.tensor([1.5]), VALUES).dtype == np.float32
    assert arrays.like([True], VALUES, dtype=bool).dtype == bool
    assert arrays.host(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    assert arrays.host(VALUES) is VALUES


def test_a_sigmoid_far_out_neither_overflows_nor_warns():
    with np.errstate(all="raise", under="ignore"):
        assert arrays.sigmoid(np.array([1e4, -1e4])).tolist() == [1.0, 0.0]
    assert arrays.sigmoid(np.array([-math.inf, math.inf])).tolist() == [0.0, 1.0]
