"""What computes the encoder: torch, or onnxruntime in float32 or with 8-bit weights.

Knows both encoders and when which of them can be used; nothing of heads or routing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from router.bert_config import can_build
from router.encoder import QueryEncoder
from router.errors import CheckpointError, UsageError
from router.onnx_encoder import OnnxEncoder, onnxruntime_problem, stamp_of
from router.sentence_folder import read_transformer_config

logger = logging.getLogger(__name__)
BACKENDS = ("auto", "onnx", "onnx-int8", "torch")
Encoder = QueryEncoder | OnnxEncoder


def choose_backend(name: str, device: str | torch.device, folder: Path) -> str:
    """`onnx`, `onnx-int8` or `torch` for the encoder in `folder`.

    `auto` is onnx wherever that can be used, since it is faster at every length measured (docs/performance.md), and
    torch elsewhere. Raises UsageError for an unknown name or one that cannot be used here, which says why.
    """
    if name not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    if name == "torch":
        return name
    obstacle = _obstacle(torch.device(device), folder)
    if name == "auto":
        logger.debug("the encoder is computed by %s", f"torch: {obstacle}" if obstacle else "onnxruntime")
        return "torch" if obstacle else "onnx"
    if obstacle:
        raise UsageError(f"backend {name} cannot be used: {obstacle}; or take backend torch")
    return name


def _obstacle(device: torch.device, folder: Path) -> str | None:
    """What keeps onnxruntime from computing an encoder; None where nothing does."""
    if device.type != "cpu":
        return f"it computes on the CPU, and the device is {device}"
    config, _ = read_transformer_config(folder)
    if not can_build(config):
        return f"its graph is made for BERT, and this encoder is of another kind ({config['model_type']})"
    return onnxruntime_problem()


def load_encoder(folder: Path, settings: Mapping[str, Any], backend: str, device: str | torch.device) -> Encoder:
    """The encoder of a folder by what `choose_backend` chose; `settings` are those of `QueryEncoder.from_pretrained`.

    Raises CheckpointError and UsageError as the encoders do.
    """
    if backend == "torch":
        return QueryEncoder.from_pretrained(folder, **settings).to(device)
    return OnnxEncoder.from_pretrained(folder, **settings, int8=backend == "onnx-int8")


def as_torch(encoder: Encoder) -> QueryEncoder:
    """The encoder with its weights as parameters, which saving and gradients need; read again where it has none.

    Raises CheckpointError where the folder it came from is gone or holds other weights by now.
    """
    if isinstance(encoder, QueryEncoder):
        return encoder
    if stamp_of(encoder.source) != encoder.stamp:
        raise CheckpointError(f"{encoder.source} changed since the encoder was read from it: load it again")
    return QueryEncoder.from_pretrained(
        encoder.source, encoder.max_tokens, encoder.head_share, encoder.layers, encoder.correct_typos
    )
