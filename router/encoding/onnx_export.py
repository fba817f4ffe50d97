"""Export of an encoder's folder to ONNX: two graphs beside the weights, in float32 and with 8-bit products.

Transformers builds the network of any architecture; of it only the attention is replaced, by onnxruntime's fused
operator. Layers, pooling and normalisation are frozen in the graphs. Axes: B texts, T tokens, E embedding.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModel
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from router.encoding.onnx_encoder import EMBEDDING, IDS, MASK, OnnxEncoder
from router.encoding.sentence_folder import FACTS, GRAPHS, WEIGHTS, SentenceFolder, read_folder, weights_file
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError
from router.onnx.export import export_graph, quantize_graph, to_bytes
from router.onnx.weights import Stored, StoredWeights

ATTENTION = "router_onnx"  # the name under which transformers knows `_attention`
TOLERANCE = 1e-4  # between torch and onnxruntime, as a share of the largest number
LEAST_COSINE = 0.9  # with 8 bits, far below the .9995 of trained encoders: what is lower is broken, not rounded


def write_graphs(folder: Path, max_tokens: int, layers: Sequence[int]) -> None:
    """Write the graphs of the encoder in `folder` that pool `layers`; then compare both with torch.

    Raises CheckpointError where the network cannot be exported, or does not compute what torch computes.
    """
    described, inner = read_folder(folder)
    tensors = tuple(StoredWeights.read(weights_file(inner)).tensors.items())
    config = json.dumps(described.config, sort_keys=True)
    made_by = config, described.pooling, described.normalize, tuple(layers), tensors
    architecture = _Architecture(*made_by, described, max_tokens)
    try:
        graphs, quantized = _export(architecture)
    except Exception as error:  # whatever transformers, torch.export or a pass raises on an unknown network
        raise CheckpointError(f"it cannot be exported to ONNX: {type(error).__name__}: {error}") from error
    for name, graph in zip(GRAPHS.values(), graphs, strict=True):
        (inner / name).write_bytes(graph)
    facts = {"layers": list(layers), "quantized": quantized}
    (inner / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    try:
        _check(folder, described.tokenizer.get_vocab_size(), max_tokens)
    except CheckpointError:
        for name in (FACTS, *GRAPHS.values()):
            (inner / name).unlink()
        raise


@dataclass(frozen=True)
class _Architecture:
    """All that the graphs depend on: not the values of weights, so that saving again exports nothing anew."""

    config: str
    pooling: str
    normalize: bool
    layers: tuple[int, ...]
    tensors: tuple[tuple[str, Stored], ...]
    described: SentenceFolder = field(compare=False)
    max_tokens: int = field(compare=False)


@lru_cache(maxsize=8)
def _export(architecture: _Architecture) -> tuple[list[bytes], list[str]]:
    """The graphs in float32 and with 8-bit products, and the names of the matrices of the second."""
    described = architecture.described
    config = AutoConfig.for_model(**described.config)
    transformer = AutoModel.from_config(config, attn_implementation=ATTENTION, trust_remote_code=False)
    encoder = QueryEncoder(transformer, described, architecture.max_tokens, layers=architecture.layers).eval()
    places = {name: stored for name, stored in architecture.tensors if name in transformer.state_dict()}
    inputs = {IDS: torch.ones(2, 7, dtype=torch.int64), MASK: torch.ones(2, 7, dtype=torch.int32)}
    model = export_graph(_OfStored(encoder, list(places)), inputs, places, WEIGHTS, [EMBEDDING])
    plain = to_bytes(model)
    quantized = quantize_graph(model, places)
    return [plain, to_bytes(model)], quantized


class _OfStored(nn.Module):
    """An encoder as a function of its stored weights, which it widens to float32."""

    def __init__(self, encoder: QueryEncoder, names: Sequence[str]) -> None:
        super().__init__()
        self._call: Callable[..., Tensor] = lambda state, ids, mask: functional_call(encoder, state, (ids, mask))
        tables = {name: each for name, each in encoder.named_modules() if isinstance(each, nn.Embedding)}
        for table in tables.values():  # the gathered rows are widened, not the table: a query reads few rows
            table.register_forward_hook(lambda module, given, found: found.float())
        self._names = {name: name.rpartition(".")[0] in tables for name in (f"transformer.{each}" for each in names)}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, stored: tuple[Tensor, ...]) -> Tensor:
        named = zip(self._names.items(), stored, strict=True)
        return self._call(
            {name: each if table else each.float() for (name, table), each in named}, input_ids, attention_mask
        )


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of `query`, `key` and `value` (B, heads, T, size), (B, T, heads, size), by onnxruntime's operator."""
    flat = [each.transpose(1, 2).flatten(2) for each in (query, key, value)]
    padding: Tensor | None = None
    bias: Tensor | None = None
    if attention_mask is not None and attention_mask.dim() == 2:
        padding = attention_mask.to(torch.int32)
    elif attention_mask is not None:
        bias = torch.where(attention_mask, 0.0, torch.finfo(torch.float32).min)
    attributes: dict[str, Any] = {"num_heads": query.shape[1]} | ({} if scaling is None else {"scale": float(scaling)})
    context = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (*flat, None, padding, bias),
        attributes,
        dtype=query.dtype,
        shape=flat[0].shape,
        version=1,
    )
    return context.unflatten(2, (query.shape[1], -1)), None


def _mask(*, mask_function: Any, attention_mask: Tensor | None = None, **others: Any) -> Tensor | None:
    """The mask that `_attention` gets: (B, T) where it hides padding alone, (B, 1, T, T) where more, as in a window."""
    if mask_function is bidirectional_mask_function:
        return attention_mask
    options = others | {"allow_is_bidirectional_skip": False}
    return sdpa_mask(mask_function=mask_function, attention_mask=attention_mask, **options)


def _check(folder: Path, words: int, max_tokens: int) -> None:
    """Raise CheckpointError where onnxruntime does not compute what torch does, of two texts of different lengths."""
    ids = np.random.default_rng(0).integers(0, words, (2, min(max_tokens, 12)))
    mask = np.ones_like(ids)
    mask[1, 3:] = 0
    served, rounded = (OnnxEncoder.from_pretrained(folder, max_tokens, int8=int8, threads=1) for int8 in GRAPHS)
    reference = QueryEncoder.from_pretrained(folder, max_tokens, layers=served.layers)
    with torch.inference_mode():
        expected = reference(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    apart = np.abs(served.forward(ids, mask) - expected).max() / np.abs(expected).max()
    if not apart <= TOLERANCE:
        raise CheckpointError(f"its ONNX graph differs from torch by {apart:.1e} of the largest number")
    found = rounded.forward(ids, mask)
    cosine = (found * expected).sum(axis=1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1))
    if not cosine.min() >= LEAST_COSINE:
        raise CheckpointError(f"with 8 bits its ONNX graph has a cosine of {cosine.min():.3f} to torch's embedding")


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, _mask)
