"""Export of a network's heads to ONNX: a graph whose weights lie in `heads.safetensors`."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from router.errors import CheckpointError
from router.network.onnx_network import EMBEDDING, HEADS, OUTPUTS
from router.network.torch_network import QueryHeads
from router.network.vectors import Dimensions
from router.onnx.export import export_graph, to_bytes
from router.onnx.weights import Stored, StoredWeights


def heads_graph(size: Dimensions, weights: StoredWeights, file: str) -> bytes:
    """The graph of heads of this `size`, whose weights lie in `file` as `weights` says; see `OnnxNetwork`.

    Raises CheckpointError where the weights are not those of such heads.
    """
    heads = {name: stored for name, stored in weights.tensors.items() if name.startswith(HEADS)}
    return _export(size, tuple(heads.items()), file)


@lru_cache(maxsize=8)
def _export(size: Dimensions, weights: tuple[tuple[str, Stored], ...], file: str) -> bytes:
    network = QueryHeads(size).eval()
    wanted = {HEADS + name: tuple(each.shape) for name, each in network.state_dict().items()}
    found = {name: stored.shape for name, stored in weights}
    if wrong := sorted(dict(wanted.items() ^ found.items())):
        raise CheckpointError(f"{file} lacks heads of this size, has others, or of another shape: {wrong[:5]}")
    heads = _OfStored(network, [name.removeprefix(HEADS) for name in found])
    inputs = {EMBEDDING: torch.zeros(2, size.embedding)}
    return to_bytes(export_graph(heads, inputs, dict(weights), file, list(OUTPUTS), axes=[0]))


class _OfStored(nn.Module):
    """Heads as a function of their stored weights."""

    def __init__(self, heads: QueryHeads, names: Sequence[str]) -> None:
        super().__init__()
        self._call = lambda state, embedding: functional_call(heads, state, (embedding,))
        self._names = names

    def forward(self, embedding: Tensor, stored: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = self._call(dict(zip(self._names, stored, strict=True)), embedding)
        return found.vector, found.log_length, found.level, found.familiarity
