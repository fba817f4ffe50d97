"""Packed BERT: a BERT in bfloat16 for GPUs on texts laid end to end, so that padding costs nothing.

It holds a converted copy of the weights of a `transformers.BertModel`; it is neither trained nor saved. It knows no
text and no files. Axes: B texts, N tokens of all texts together, E hidden size, H heads.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The activation's name in a config -> the argument `approximate` of F.gelu.
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


class Packed(NamedTuple):
    """Texts laid end to end."""

    ids: Tensor  # (N,) int32
    positions: Tensor  # (N,) int32, each token's within its text
    offsets: Tensor  # (B + 1,) int32: text b is ids[offsets[b] : offsets[b + 1]]
    longest: int  # tokens of the longest text


def pack(ids: Sequence[Sequence[int]], device: str | torch.device = "cpu") -> Packed:
    """The token ids of B texts laid end to end on `device`, moved there by one copy that waits for no kernel.

    >>> pack([[7, 8, 9], [5]]).positions.tolist(), pack([[7, 8, 9], [5]]).offsets.tolist()
    ([0, 1, 2, 0], [0, 3, 4])
    """
    lengths = np.fromiter(map(len, ids), np.int32, len(ids))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    tokens = int(offsets[-1])
    flat = np.fromiter(chain.from_iterable(ids), np.int32, tokens)
    positions = np.arange(tokens, dtype=np.int32) - np.repeat(offsets[:-1], lengths)
    whole = moved(torch.from_numpy(np.concatenate([offsets, flat, positions])), device)
    starts, flat_ids, within = whole.split([len(offsets), tokens, tokens])
    return Packed(flat_ids, within, starts, int(lengths.max(initial=0)))


def moved(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on `device`; a GPU gets it from pinned memory, so that the copy waits for no earlier kernel."""
    return (tensor.pin_memory() if torch.device(device).type == "cuda" else tensor).to(device, non_blocking=True)


def fits(transformer: Any, device: torch.device) -> bool:
    """Whether `transformer` is a BERT that flash attention (2307.08691) supports on `device`."""
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.backends.cuda.is_flash_attention_available()
        and find_spec("torch.nn.attention.varlen") is not None  # since torch 2.10
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and can_pack(transformer.config)
        and _head_size(transformer) % 8 == 0
        and _head_size(transformer) <= 256
    )


def can_pack(config: Any) -> bool:
    """Whether `PackedBert` computes the network of a config of transformers, which is so for BERT."""
    return (
        config.model_type == "bert"
        and config.hidden_act in ACTIVATIONS
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not config.is_decoder
        and not config.add_cross_attention
    )


def _head_size(bert: Any) -> int:
    return bert.config.hidden_size // bert.config.num_attention_heads


class _Layer(NamedTuple):
    """Converted weights of one layer; each pair is a weight and its bias."""

    qkv: tuple[Tensor, Tensor]  # (3E, E), (3E,)
    output: Tensor  # (E, E)
    middle_norm: tuple[Tensor, Tensor]  # (E,), (E,)
    inner: tuple[Tensor, Tensor]  # (inner size, E), (inner size,)
    outer: Tensor  # (E, inner size)
    norm: tuple[Tensor, Tensor]  # (E,), (E,)


class PackedBert:
    """Texts laid end to end to one pooled vector (B, E) each, for every wanted hidden state.

    The residual stream carries the bias of the next product from the preceding LayerNorm on, whose own bias includes
    it. So the product is added to the stream in place, and the sums need no pass over memory of their own. Every
    product that reads the stream in between subtracts the carried bias, as a constant in its own bias.

    Args:
        bert: a `transformers.BertModel`; its weights are copied.
        dtype: the dtype of the computation; float32 is for tests.
        fused_gelu: fuse GELU (its tanh approximation) into the product before it, by a private function of torch.
    """

    def __init__(self, bert: Any, dtype: torch.dtype = torch.bfloat16, fused_gelu: bool = False) -> None:
        layers, embeddings = list(bert.encoder.layer), bert.embeddings
        self.heads: int = bert.config.num_attention_heads
        self.gelu = ACTIVATIONS[bert.config.hidden_act]
        self.eps: float = embeddings.LayerNorm.eps
        self.fused_gelu = fused_gelu
        self.flash: Any = None
        if embeddings.word_embeddings.weight.device.type == "cuda":
            from torch.nn.attention.varlen import varlen_attn  # here, since the import may load torch's compiler

            self.flash = varlen_attn
        with torch.no_grad():
            carried = [each.attention.output.dense.bias for each in layers]
            carried.append(torch.zeros_like(carried[0]))
            self.carried = torch.stack(carried)  # (layers + 1, E): the bias that each hidden state carries
            positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
            self.words, self.positions = embeddings.word_embeddings.weight.to(dtype), positions.to(dtype)
            self.norm = _carrying(embeddings.LayerNorm, carried[0], dtype)
            self.layers = [_converted(each, carried[at], carried[at + 1], dtype) for at, each in enumerate(layers)]

    def __call__(self, packed: Packed, wanted: Sequence[int], pooling: str = "mean") -> list[Tensor]:
        """One vector (B, E) in float32 per text for each of the `wanted` hidden states (0: the embeddings).

        `pooling` is "mean" or "cls". A mean is summed in float32, then rounded once to the dtype of the computation.
        """
        hidden = F.embedding(packed.ids, self.words) + F.embedding(packed.positions, self.positions)
        hidden = self._normalised(hidden, self.norm)
        pooled = {}
        for number in range(max(wanted) + 1):
            if number:
                hidden = self._layer(self.layers[number - 1], hidden, packed)
            if number in wanted:  # the next layer overwrites it
                pooled[number] = self._pool(hidden, packed, pooling) - self.carried[number]
        return [pooled[number] for number in wanted]

    def _layer(self, layer: _Layer, hidden: Tensor, packed: Packed) -> Tensor:
        """The next hidden state (N, E); overwrites `hidden` (N, E)."""
        query, key, value = F.linear(hidden, *layer.qkv).unflatten(-1, (3, self.heads, -1)).unbind(1)
        context = self._attend(query, key, value, packed.offsets, packed.offsets, packed.longest, packed.longest)
        hidden = self._normalised(hidden.addmm_(context.flatten(1), layer.output.t()), layer.middle_norm)
        weight, bias = layer.inner
        if self.fused_gelu:
            inner = torch._addmm_activation(bias, hidden, weight.t(), use_gelu=True)
        else:
            inner = F.gelu(F.linear(hidden, weight, bias), approximate=self.gelu)
        return self._normalised(hidden.addmm_(inner, layer.outer.t()), layer.norm)

    def _normalised(self, hidden: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return F.layer_norm(hidden, hidden.shape[1:], *norm, self.eps)

    def _pool(self, hidden: Tensor, packed: Packed, pooling: str) -> Tensor:
        """One vector (B, E) in float32 per text of hidden states (N, E)."""
        if pooling == "cls":
            return hidden[packed.offsets[:-1]].float()
        split = hidden.unflatten(-1, (self.heads, -1))
        texts = packed.offsets.numel() - 1
        alike = split.new_zeros(texts, *split.shape[1:])  # attention by zeros is the mean
        each = torch.arange(texts + 1, dtype=torch.int32, device=hidden.device)
        return self._attend(alike, split, split, each, packed.offsets, 1, packed.longest).flatten(1).float()

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, rows: Tensor, offsets: Tensor, most: int, longest: int
    ) -> Tensor:
        """Attention of each text's queries, from rows[b] on for text b, to its keys and values, from offsets[b] on.

        All are (rows or tokens, H, E / H); no text has more than `most` queries or `longest` keys.
        """
        if self.flash is not None:
            return self.flash(query, key, value, rows, offsets, most, longest)
        sizes = rows.diff().tolist(), offsets.diff().tolist(), offsets.diff().tolist()
        parts = (
            each.transpose(0, 1).split(of, 1) for each, of in zip((query, key, value), sizes, strict=True)
        )  # (H, T, E / H)
        return torch.cat([F.scaled_dot_product_attention(*text).transpose(0, 1) for text in zip(*parts, strict=True)])


def _converted(layer: Any, carried: Tensor, carried_next: Tensor, dtype: torch.dtype) -> _Layer:
    """A layer of the network, converted for a stream that carries `carried` before it and `carried_next` after it."""
    projections = [getattr(layer.attention.self, name) for name in ("query", "key", "value")]
    qkv = torch.cat([each.weight for each in projections]), torch.cat([each.bias for each in projections])
    between = layer.output.dense.bias
    inner = layer.intermediate.dense
    return _Layer(
        _reading(*qkv, carried, dtype),
        layer.attention.output.dense.weight.to(dtype),
        _carrying(layer.attention.output.LayerNorm, between, dtype),
        _reading(inner.weight, inner.bias, between, dtype),
        layer.output.dense.weight.to(dtype),
        _carrying(layer.output.LayerNorm, carried_next, dtype),
    )


def _reading(weight: Tensor, bias: Tensor, carried: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias that map x + carried to what the given weight and bias make of x."""
    return weight.to(dtype), (bias - weight @ carried).to(dtype)


def _carrying(norm: nn.LayerNorm, carried: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias of a LayerNorm whose result includes `carried`."""
    return norm.weight.to(dtype), (norm.bias + carried).to(dtype)
