"""Which networks are BERT as it is computed here, and what their parameters are called: shared by torch and ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A config's name of the activation -> how F.gelu spells the approximation.
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


def can_build(config: Mapping[str, Any]) -> bool:
    """Whether `config` (a `config.json`) describes a network that is computed exactly.

    >>> can_build({"model_type": "bert"}), can_build({"model_type": "roberta"})
    (True, False)
    """
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act", "gelu") in ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
    )


def parameter_name(name: str) -> str:
    """A parameter's name in `transformers.BertModel`, given its name in any BERT checkpoint.

    >>> parameter_name("bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    """
    return (
        name.removeprefix("bert.")
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
    )
