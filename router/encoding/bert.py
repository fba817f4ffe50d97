"""BERT (Devlin et al., 1810.04805) in torch, with the parameter names of `transformers.BertModel`, and its loading.

It replaces transformers because importing that takes 2.8 s, more than loading and routing together; only architectures
other than BERT are left to it. It never reads a pickle, and knows no text and no pooling.
Axes: B texts, T tokens, E hidden size, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from router.encoding.sentence_folder import ACTIVATIONS, can_build, parameter_name, weights_file
from router.errors import CheckpointError


def load_transformer(config: dict[str, Any], folder: Path) -> nn.Module:
    """The network that `config` describes, in float32 with the weights in `folder`.

    Raises CheckpointError where weights are missing, broken or do not fit.
    """
    if not can_build(config):
        return _load_by_transformers(folder)
    state = {parameter_name(name): tensor for name, tensor in read_weights(folder).items()}
    network = Bert(config)
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name.startswith("pooler.") and name not in state:
            state[name] = torch.zeros(tensor.shape)
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if wrong:
        raise CheckpointError(f"{folder} lacks weights that its config.json asks for, or in that shape: {wrong[:5]}")
    network.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return network


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The stored tensors by name, in float32; CheckpointError where the file is missing or broken."""
    file = weights_file(folder)
    try:
        # Copied, since safetensors maps the file: if the file were cut short later, the process would crash.
        return {name: t.to(torch.float32, copy=True) for name, t in load_file(file).items() if t.is_floating_point()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a whole safetensors file: {error}") from error


def _load_by_transformers(folder: Path) -> nn.Module:
    """The network of another architecture than BERT, by the package transformers."""
    from transformers import AutoModel  # here, since it takes seconds to import

    try:
        network = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise CheckpointError(f"transformers cannot load the encoder in {folder}: {error}") from error
    if network.config.is_encoder_decoder:
        raise CheckpointError(f"{folder} holds an encoder-decoder; an encoder (such as BERT) is needed")
    for name, parameter in network.named_parameters():
        if name.startswith("pooler."):  # unused, so it gets no gradient, for which DDP would wait
            parameter.requires_grad_(False)
    return network


class HiddenStates(NamedTuple):
    """The fields of transformers' `BaseModelOutput` that the encoder reads."""

    last_hidden_state: Tensor  # (B, T, E)
    hidden_states: tuple[Tensor, ...]  # (B, T, E) each: the token embeddings, then each layer


class Bert(nn.Module):
    """Token ids (B, T) to hidden states (B, T, E).

    The large weights are uninitialised until a state dict is loaded. Drawing initial values would take longer than
    loading, and would change the caller's random numbers.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Stack(config)
        self.pooler = nn.ModuleDict({"dense": _Unused(config["hidden_size"])})

    def forward(self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = True) -> HiddenStates:
        """Hidden states (B, T, E) of token ids (B, T); no token attends to one where `attention_mask` (B, T) is 0.

        It always returns all hidden states; `output_hidden_states` exists because transformers' networks take it.
        """
        attended = attention_mask.bool()[:, None, None, :]  # (B, H, T, T) by broadcasting
        states = self.encoder(self.embeddings(input_ids), attended)
        return HiddenStates(states[-1], states)


class _Linear(nn.Linear):
    def reset_parameters(self) -> None:
        """Nothing, see `Bert`."""


class _Embedding(nn.Embedding):
    def reset_parameters(self) -> None:
        """Nothing, see `Bert`."""


class _Unused(nn.Module):
    """The pooler's weights, which are unused; kept as buffers so that a saved folder has them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(size, size))
        self.register_buffer("bias", torch.zeros(size))


class _Embeddings(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.word_embeddings = _Embedding(config["vocab_size"], size)
        self.position_embeddings = _Embedding(config["max_position_embeddings"], size)
        self.token_type_embeddings = _Embedding(config.get("type_vocab_size", 2), size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, input_ids: Tensor) -> Tensor:
        position = self.position_embeddings.weight[: input_ids.shape[1]]
        embedding = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0] + position
        return self.dropout(self.LayerNorm(embedding))


class _Stack(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, hidden: Tensor, attended: Tensor) -> tuple[Tensor, ...]:
        states = [hidden]
        for layer in self.layer:
            states.append(layer(states[-1], attended))
        return tuple(states)


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, inner = config["hidden_size"], config["intermediate_size"]
        self.heads: int = config["num_attention_heads"]
        self.attention_dropout: float = config.get("attention_probs_dropout_prob", 0.1)
        self.gelu = ACTIVATIONS[config.get("hidden_act", "gelu")]
        projections = nn.ModuleDict({name: _Linear(size, size) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": _Residual(size, size, config)})
        self.intermediate = nn.ModuleDict({"dense": _Linear(size, inner)})
        self.output = _Residual(inner, size, config)

    def forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        projections = self.attention["self"]
        query, key, value = (
            projections[name](hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[index]
            for name in ("query", "key", "value")
        )
        dropout = self.attention_dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)
        hidden = self.attention["output"](context.transpose(1, 2).flatten(2), hidden)
        return self.output(F.gelu(self.intermediate["dense"](hidden), approximate=self.gelu), hidden)


class _Residual(nn.Module):
    """A linear map, added to the residual stream, then normalised."""

    def __init__(self, inner: int, size: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.dense = _Linear(inner, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.get("layer_norm_eps", 1e-12))
        self.dropout = nn.Dropout(config.get("hidden_dropout_prob", 0.1))

    def forward(self, values: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(values)) + residual)
