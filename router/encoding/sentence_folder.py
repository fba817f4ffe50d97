"""Sentence-transformers folder: its files read and written without that package.

Plain values; of weights it knows only that they are one file. A plain transformers folder (without `modules.json`) is
read as mean pooling, normalised, which is how most such encoders are used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from router.errors import CheckpointError, UsageError
from router.files import read_json
from router.onnx.packed_weights import PACKED_WEIGHTS

WEIGHTS = "model.safetensors"  # or PACKED_WEIGHTS in its place
TOKENIZER = "tokenizer.json"
GRAPHS = {False: "graph.onnx", True: "graph-int8.onnx"}  # beside the weights, by whether products have 8 bits
FACTS = "graph.json"  # what both graphs have in common: the layers they pool, the matrices that 8 bits replace
POOLINGS = ("mean", "cls")
_MODULES = ("Transformer", "Pooling", "Normalize")
_COPIED = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class SentenceFolder:
    """An encoder's folder, apart from the weights."""

    config: dict[str, Any]  # config.json of the transformer
    tokenizer: Tokenizer  # without truncation and padding
    pooling: str = "mean"  # of POOLINGS
    normalize: bool = True  # whether embeddings have length 1
    tokenizer_files: dict[str, Any] = field(default_factory=dict)  # JSON that other tools need beside tokenizer.json
    packed: bool = False  # whether its weights are stored as `router.onnx.packed_weights` does


def read_folder(folder: Path) -> tuple[SentenceFolder, Path]:
    """The content of `folder`, and its transformer's folder; CheckpointError for a part that is missing or unknown."""
    config, inner = read_transformer_config(folder)
    pooling, normalize = "mean", True
    if (folder / "modules.json").is_file():
        paths = _module_paths(folder)
        pooling = _pooling(folder / paths["Pooling"])
        normalize = "Normalize" in paths
    copied = {name: read_json(inner / name) for name in _COPIED if (inner / name).is_file()}
    packed = (inner / PACKED_WEIGHTS).is_file()
    return SentenceFolder(config, _read_tokenizer(inner / TOKENIZER), pooling, normalize, copied, packed), inner


def read_transformer_config(folder: Path) -> tuple[dict[str, Any], Path]:
    """The transformer's `config.json` and folder; CheckpointError where it is missing or not a transformer's."""
    inner = folder / _module_paths(folder)["Transformer"] if (folder / "modules.json").is_file() else folder
    config = read_json(inner / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise CheckpointError(f"{inner / 'config.json'} names no model_type: it is not the config of a transformer")
    return config, inner


def write_folder(described: SentenceFolder, weights: bytes, dimension: int, max_tokens: int, folder: Path) -> None:
    """Write the folder that `sentence_transformers.SentenceTransformer` loads; the same input gives the same bytes.

    `weights` is the content of its safetensors file, packed if `described` says so, which that package cannot read.
    """
    types = _MODULES if described.normalize else _MODULES[:2]
    names = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": names[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(types)
    ]
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast"} | described.tokenizer_files.get(_COPIED[0], {})
    files: dict[str, Any] = {
        "modules.json": modules,
        # Other programs too should compute in float32, whatever type the weights are stored in.
        "config.json": {k: v for k, v in described.config.items() if k != "torch_dtype"} | {"dtype": "float32"},
        "config_sentence_transformers.json": {
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "1_Pooling/config.json": _pooling_config(described.pooling, dimension),
        "special_tokens_map.json": described.tokenizer_files.get(_COPIED[1], {}),
        "tokenizer_config.json": tokenizer_config | {"model_max_length": max_tokens},
    }
    (folder / names[1]).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / TOKENIZER).write_text(described.tokenizer.to_str(), encoding="utf-8")
    name, other = (PACKED_WEIGHTS, WEIGHTS) if described.packed else (WEIGHTS, PACKED_WEIGHTS)
    (folder / other).unlink(missing_ok=True)
    (folder / name).write_bytes(weights)


def weights_file(folder: Path) -> Path:
    """The file of a transformer's weights, packed or not; CheckpointError where there is none, or both are there."""
    files = [folder / name for name in (WEIGHTS, PACKED_WEIGHTS) if (folder / name).is_file()]
    if not files:
        found = ", ".join(sorted(each.name for each in folder.iterdir())) or "nothing"
        raise CheckpointError(f"{folder / WEIGHTS} is missing: weights must be one safetensors file; found {found}")
    if len(files) > 1:
        raise CheckpointError(f"{folder} holds both {WEIGHTS} and {PACKED_WEIGHTS}: delete the one that is not meant")
    return files[0]


def pooled_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """The layers to pool of a transformer with `depth` layers, by default the last; UsageError for an unknown layer.

    >>> pooled_layers([], 6), pooled_layers([2, 0], 6)
    ((6,), (2, 0))
    """
    if not all(0 <= layer <= depth for layer in layers) or len(set(layers)) < len(layers):
        raise UsageError(
            f"layers must be different numbers from 0 (the token embeddings) to {depth} (the last layer), got "
            f"{list(layers)}"
        )
    return tuple(layers) or (depth,)


def _module_paths(folder: Path) -> dict[str, str]:
    """The subfolder of each module, by kind."""
    try:
        paths = {each["type"].rsplit(".", 1)[-1]: each["path"] for each in read_json(folder / "modules.json")}
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'modules.json'} is not a list of modules with type and path") from error
    if not set(_MODULES[:2]) <= set(paths) <= set(_MODULES):
        raise CheckpointError(
            f"{folder / 'modules.json'} has the modules {list(paths)}; an encoder is Transformer, Pooling and "
            "optionally Normalize"
        )
    return paths


def _pooling(folder: Path) -> str:
    """`mean` or `cls`, from either form of the pooling config."""
    raw = read_json(folder / "config.json")
    modes = [raw["pooling_mode"]] if "pooling_mode" in raw else []
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    modes = modes or [flags.get(key, key) for key, value in raw.items() if key.startswith("pooling_mode") and value]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(f"{folder / 'config.json'} asks for pooling {modes}; allowed is one of {list(POOLINGS)}")
    return str(modes[0])


def _pooling_config(pooling: str, dimension: int) -> dict[str, Any]:
    """The pooling config in the form that every version of sentence-transformers reads."""
    return {
        "word_embedding_dimension": dimension,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }


def _read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in a file, without truncation and padding; CheckpointError where it is missing or broken."""
    if not file.is_file():
        raise CheckpointError(f"{file} is missing: save the encoder with a fast tokenizer, which writes this file")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise CheckpointError(f"{file} is not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
