"""Transformer of an encoder's folder, loaded by the package transformers: no pickle, no code that comes along.

It knows no text and no pooling. Importing transformers takes seconds, so this module does it late.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from router.encoding.sentence_folder import weights_file
from router.errors import CheckpointError
from router.onnx.weights import StoredWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_transformer(folder: Path) -> PreTrainedModel:
    """The network in a transformers folder, in float32 and evaluation mode, without the pooler that no embedding needs.

    Raises CheckpointError where weights are missing, broken or do not fit, and for what is no encoder.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    state = read_weights(folder)
    try:
        with _silent():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            kind: Any = MODEL_MAPPING[type(config)]
            options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
            network, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # reported below
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # transformers raises errors of many types
        raise CheckpointError(f"transformers cannot load the encoder in {folder}: {error}") from error
    if config.is_encoder_decoder:
        raise CheckpointError(f"{folder} holds an encoder-decoder; an encoder (such as BERT) is needed")
    wrong = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if wrong:
        raise CheckpointError(f"{folder} lacks weights that its config.json asks for, or in that shape: {wrong[:5]}")
    return network


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The stored tensors by name, in float32; CheckpointError where the file is missing or broken."""
    weights = StoredWeights.read(weights_file(folder))
    return {name: torch.from_numpy(weights.array(name)) for name in weights.tensors}


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps transformers from showing progress, and from listing weights that are not needed."""
    from transformers.utils import logging

    verbosity, shows_progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress:
            logging.enable_progress_bar()
