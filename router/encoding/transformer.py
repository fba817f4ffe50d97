"""The transformer of an encoder's folder with its weights, for torch: by `router.encoding.bert` where that can.

Other architectures are left to the package transformers. Never reads a pickle; knows no text and no pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from router.encoding import bert
from router.encoding.bert_config import can_build, parameter_name
from router.encoding.sentence_folder import weights_file
from router.errors import CheckpointError


def load_transformer(config: dict[str, Any], folder: Path) -> nn.Module:
    """The network that `config` describes, in float32, with the weights in `folder`.

    Raises CheckpointError where weights are missing, broken or do not fit.
    """
    if not can_build(config):
        return _load_by_transformers(folder)
    state = {parameter_name(name): tensor for name, tensor in read_weights(folder).items()}
    network = bert.Bert(config)
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
    """Tensors by name, float32 whatever is on disk; CheckpointError where the file is missing or broken."""
    file = weights_file(folder)
    try:
        # A copy: safetensors maps the file, and a file cut short later would end the process.
        return {name: t.to(torch.float32, copy=True) for name, t in load_file(file).items() if t.is_floating_point()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a whole safetensors file: {error}") from error


def _load_by_transformers(folder: Path) -> nn.Module:
    from transformers import AutoModel  # takes seconds to import, so only where it is needed

    try:
        network = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise CheckpointError(f"transformers cannot load the encoder in {folder}: {error}") from error
    if network.config.is_encoder_decoder:
        raise CheckpointError(f"{folder} holds an encoder-decoder; an encoder (such as BERT) is needed")
    for name, parameter in network.named_parameters():
        if name.startswith("pooler."):  # not part of the embedding: without a gradient, which DDP would wait for
            parameter.requires_grad_(False)
    return network
