"""Backend choice: which library computes the encoder, and in which precision.

The backends are torch in float32 or bfloat16, and onnxruntime in float32 or with 8-bit weights. Without torch installed
all but the torch backends work, so this module imports torch late. It knows nothing of heads or routing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.encoding.onnx_encoder import OnnxEncoder, stamp_of
from router.encoding.sentence_folder import FACTS, read_transformer_config
from router.errors import CheckpointError, UsageError
from router.installation import how_to_install
from router.onnx.session import onnxruntime_problem
from router.options import BACKENDS

if TYPE_CHECKING:
    from router.encoding.torch_encoder import QueryEncoder

    Encoder = QueryEncoder | OnnxEncoder

logger = logging.getLogger(__name__)
INSTALL_TORCH = f"{how_to_install('torch')} installs it"


def choose_backend(name: str, device: str, folder: Path) -> str:
    """The backend (one of BACKENDS, never `auto`) for the encoder in `folder`.

    `auto` becomes onnx where onnxruntime can compute the encoder, since it is faster at every length measured
    (docs/performance.md), and torch otherwise. Raises UsageError, with the reason, for a name that is unknown or that
    cannot be used here.
    """
    if name not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    obstacle = _obstacle(device, folder)
    if uses_torch(name) or (name == "auto" and obstacle):
        if find_spec("torch") is None:
            also = f", and onnxruntime cannot be used: {obstacle}" if name == "auto" else "; or take another backend"
            raise UsageError(f"the backend torch needs torch; {INSTALL_TORCH}{also}")
        logger.debug("the encoder is computed by torch: %s", obstacle or "as asked for")
        return "torch" if name == "auto" else name
    if name == "auto":
        return "onnx"
    if obstacle:
        raise UsageError(f"backend {name} cannot be used: {obstacle}; or take backend torch")
    return name


def uses_torch(backend: str) -> bool:
    """Whether encoder and network are computed by torch."""
    return backend in ("torch", "torch-bf16")


def _obstacle(device: str, folder: Path) -> str | None:
    """Why onnxruntime cannot compute the encoder; None where it can."""
    if device.partition(":")[0] != "cpu":
        return f"it computes on the CPU, and the device is {device}"
    inner = read_transformer_config(folder)[1]
    if not (inner / FACTS).is_file():
        return f"{inner} has no graph of the encoder: it could not be exported when it was saved"
    return onnxruntime_problem()


def load_encoder(folder: Path, settings: Mapping[str, Any], backend: str, device: str) -> Encoder:
    """The encoder in `folder` on a backend from `choose_backend`.

    `settings` are the arguments of `QueryEncoder.from_pretrained`. Raises CheckpointError and UsageError as that does.
    """
    if uses_torch(backend):
        from router.encoding.torch_encoder import QueryEncoder

        encoder = QueryEncoder.from_pretrained(folder, **settings).to(device)
        encoder.bf16 = backend == "torch-bf16"
        return encoder
    return OnnxEncoder.from_pretrained(folder, **settings, int8=backend == "onnx-int8")


def as_torch(encoder: Encoder) -> QueryEncoder:
    """The encoder in torch, as saving and gradients need it; one of onnxruntime is read again from its folder.

    Raises CheckpointError where that folder is gone or its weights have changed, UsageError without torch.
    """
    if not isinstance(encoder, OnnxEncoder):
        return encoder
    if find_spec("torch") is None:
        raise UsageError(f"an encoder's weights are changed and saved with torch; {INSTALL_TORCH}")
    from router.encoding.torch_encoder import QueryEncoder

    if stamp_of(encoder.source) != encoder.stamp:
        raise CheckpointError(f"{encoder.source} changed since the encoder was read from it: load it again")
    settings = {name: getattr(encoder, name) for name in ("max_tokens", "layers", "form")}
    return QueryEncoder.from_pretrained(encoder.source, **settings)
