"""The network in numpy: the same numbers and the same reading as torch's, and what of a file is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from router.errors import CheckpointError
from router.network.onnx_network import OnnxNetwork, shapes_of
from router.network.torch_network import RouterNetwork
from router.network.vectors import ARRAYS, Dimensions

# E, C, K, P, S, R, H, T, L, G
SIZES = {
    "named axes": Dimensions(12, 4, 5, 2, 3, hidden=7),
    "with residual": Dimensions(12, 4, 5, 2, 3, residual=6, hidden=7),
    "with prototypes": Dimensions(12, 4, 5, 2, 3, residual=6, hidden=7, prototypes=8, likeness=9),
    "with categories": Dimensions(12, 4, 5, 2, 3, hidden=7, prototypes=8, likeness=9, categories=10),
}


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def network(request) -> RouterNetwork:
    torch.manual_seed(0)
    made = RouterNetwork(request.param, torch.tensor([0, 1, 1]))
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_()
        if name.endswith("points"):
            tensor.copy_(torch.nn.functional.normalize(tensor, dim=1))
    return made.eval()


def served(network: RouterNetwork) -> OnnxNetwork:
    return OnnxNetwork(network.size, {name: each.numpy() for name, each in network.state_dict().items()})


def test_it_holds_the_tensors_that_torchs_has(network):
    assert shapes_of(network.size) == {name: tuple(each.shape) for name, each in network.state_dict().items()}


def test_it_reads_queries_as_torch_does(network):
    embedding = torch.randn(6, 12)
    found, expected = served(network).query_vectors(embedding.numpy()), network.query_vectors(embedding)
    for name in ("capability", "knowledge", "residual", "likeness", "difficulty", "log_length", "vector"):
        one, other = getattr(found, name), getattr(expected, name)
        assert isinstance(one, np.ndarray) and one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)


def test_its_profiles_are_torchs(network):
    found, expected = served(network).learned, network.learned
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in ARRAYS)
    assert np.array_equal(found.matrix(), expected.matrix()) and np.array_equal(found.rows(), expected.rows())
    assert torch.equal(expected.matrix(), network.profiles.matrix())


def test_torchs_network_is_made_of_it_and_draws_no_random_numbers(network):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    again = RouterNetwork.of(served(network))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(again.state_dict()[name], each) for name, each in network.state_dict().items())
    assert RouterNetwork.of(network) is network


def test_what_does_not_fit_is_named(network, tmp_path: Path):
    state = network.state_dict()
    bias = state.pop("profiles.bias")
    file = tmp_path / "heads.safetensors"
    save_file({**state, "heads.extra": bias.clone()}, file)
    with pytest.raises(CheckpointError, match=r"does not fit .*: \['heads\.extra', 'profiles\.bias'\]"):
        OnnxNetwork.read(file, network.size)
    save_file({**state, "profiles.bias": torch.zeros(4)}, file)
    with pytest.raises(CheckpointError, match=r"profiles\.bias \(4,\), not \(3,\)"):
        OnnxNetwork.read(file, network.size)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        OnnxNetwork.read(file, network.size)


def test_numbers_that_are_not_finite_are_found(network):
    made = served(network)
    assert made.not_finite() == network.not_finite() == []
    made.state_dict()["heads.scale"][0] = np.nan
    assert made.not_finite() == ["heads.scale"]


@pytest.mark.parametrize("wrong", [-1, "7", 1.5, None])
def test_dimensions_are_whole_numbers(wrong):
    with pytest.raises(TypeError, match=r"whole numbers of at least 0, got \{'hidden'"):
        Dimensions(12, 4, 5, 2, 3, hidden=wrong)
