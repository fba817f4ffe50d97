from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.encoding.sentence_folder import read_folder
from router.encoding.transformer import read_weights
from router.errors import CheckpointError


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder to break."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def breakages() -> Iterator[tuple[str, bytes | None, str]]:
    yield "config.json", None, r"config\.json is missing"
    yield "config.json", b"{", r"config\.json cannot be read as JSON"
    yield "config.json", b"[]", "names no model_type"
    yield "tokenizer.json", None, r"tokenizer\.json is missing: save the encoder with a fast tokenizer"
    yield "tokenizer.json", b"{}", r"tokenizer\.json is not a tokenizer"
    yield "model.safetensors", None, r"weights must be one safetensors file; found 1_Pooling, config\.json"
    yield "model.safetensors", b"short", r"model\.safetensors is not a whole safetensors file"
    yield "modules.json", b"[1]", r"modules\.json is not a list of modules with type and path"
    yield (
        "modules.json",
        b'[{"type": "a.Transformer", "path": ""}]',
        "an encoder is Transformer, Pooling and optionally",
    )
    yield "1_Pooling/config.json", b'{"pooling_mode": "max"}', r"pooling \['max'\]; allowed is one of \['mean', 'cls'\]"
    yield "1_Pooling/config.json", b"{}", r"pooling \[\]; allowed"


@pytest.mark.parametrize(("name", "content", "message"), list(breakages()))
def test_a_broken_folder_is_one_clear_error(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(read_folder(folder)[1])
