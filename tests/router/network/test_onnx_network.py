"""The network in numpy: the same numbers and the same reading as torch's, and what of a file is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from router.errors import CheckpointError
from router.network.onnx_export import heads_graph
from router.network.onnx_network import OnnxNetwork
from router.network.torch_network import RouterNetwork
from router.network.vectors import ARRAYS, Dimensions
from router.onnx.weights import StoredWeights

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
        if name.endswith(("familiar", "fading")):
            tensor.copy_(torch.tensor([0.6, 0.01]))
    return made.eval()


def write(network: RouterNetwork, folder: Path) -> tuple[Path, Path]:
    """The network's file and its graph's."""
    file, graph = folder / "heads.safetensors", folder / "heads.onnx"
    save_file(network.state_dict(), file)
    graph.write_bytes(heads_graph(network.size, StoredWeights.read(file), file.name))
    return file, graph


@pytest.fixture
def served(network, tmp_path: Path) -> OnnxNetwork:
    return OnnxNetwork.read(*write(network, tmp_path), network.size)


def test_it_reads_queries_as_torch_does(network, served):
    embedding = torch.randn(6, 12)
    found, expected = served.query_vectors(embedding.numpy()), network.query_vectors(embedding)
    needs = ("capability", "knowledge", "residual", "likeness", "difficulty", "level")
    for name in (*needs, "log_length", "vector", "familiarity"):
        one, other = getattr(found, name), getattr(expected, name)
        assert isinstance(one, np.ndarray) and one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)
    assert ((found.familiarity < 1).any()) == bool(network.size.prototypes)


def test_its_profiles_are_torchs(network, served):
    found, expected = served.learned, network.learned
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in ARRAYS)
    assert np.array_equal(found.matrix(), expected.matrix()) and np.array_equal(found.rows(), expected.rows())
    assert torch.equal(expected.matrix(), network.profiles.matrix())


def test_torchs_network_is_made_of_it_and_draws_no_random_numbers(network, served):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    again = RouterNetwork.of(served)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(again.state_dict()[name], each) for name, each in network.state_dict().items())
    assert RouterNetwork.of(network) is network


def test_what_does_not_fit_is_named(network, tmp_path: Path):
    file, graph = write(network, tmp_path)
    state = network.state_dict()
    save_file({**state, "profiles.bias": torch.zeros(4)}, file)
    with pytest.raises(CheckpointError, match=r"does not fit .*another shape: \{'bias': \(4,\)\}"):
        OnnxNetwork.read(file, graph, network.size)
    save_file({name: each for name, each in state.items() if name != "profiles.bias"}, file)
    with pytest.raises(CheckpointError, match=r"does not fit .*missing"):
        OnnxNetwork.read(file, graph, network.size)
    file, graph = write(network, tmp_path)
    with pytest.raises(CheckpointError, match=r"does not fit .*\{'query_vector': "):
        OnnxNetwork.read(file, graph, replace(network.size, protocols=network.size.protocols + 1))
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="onnxruntime cannot open the graph"):
        OnnxNetwork.read(file, graph, network.size)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        OnnxNetwork.read(file, graph, network.size)


def test_heads_of_another_size_are_not_exported(network, tmp_path: Path):
    file, _ = write(network, tmp_path)
    with pytest.raises(
        CheckpointError, match=r"heads\.safetensors lacks heads .*\['heads\.centre', 'heads\.scale', 'heads\.trunk"
    ):
        heads_graph(replace(network.size, embedding=13), StoredWeights.read(file), file.name)


def test_numbers_that_are_not_finite_are_found(network, served):
    assert served.not_finite() == network.not_finite() == []
    served.state_dict()["heads.scale"][0] = np.nan
    assert served.not_finite() == ["heads.scale"]


@pytest.mark.parametrize("wrong", [-1, "7", 1.5, None])
def test_dimensions_are_whole_numbers(wrong):
    with pytest.raises(TypeError, match=r"whole numbers of at least 0, got \{'hidden'"):
        Dimensions(12, 4, 5, 2, 3, hidden=wrong)
