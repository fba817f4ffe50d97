"""Encoders of several architectures exported to ONNX: equal to torch, small, and left out where they cannot be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fixtures.tiny_checkpoint import make_checkpoint
from fixtures.tiny_encoders import MAX_TOKENS, TEXTS
from transformers import AlbertConfig, AlbertModel

from router import Router
from router.checkpoint.storage import save_checkpoint
from router.encoding import onnx_export
from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.onnx_export import write_graphs
from router.encoding.sentence_folder import FACTS, GRAPHS, read_folder
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "checkpoints" / "routemix"
MOST_BYTES = 100_000  # of a graph


@pytest.fixture
def folder(tiny_of_each_kind: Path, tmp_path: Path) -> Path:
    """A tiny encoder of each architecture, stored in half precision as checkpoints are."""
    QueryEncoder.from_pretrained(tiny_of_each_kind, MAX_TOKENS).save_pretrained(tmp_path, torch.float16)
    return tmp_path


@pytest.mark.parametrize("layers", [(3,), (3, 0, 1)])
def test_every_architecture_is_served_as_torch_computes_it(folder: Path, layers: tuple[int, ...]) -> None:
    write_graphs(folder, MAX_TOKENS, layers)
    expected = QueryEncoder.from_pretrained(folder, MAX_TOKENS, layers=layers).encode(TEXTS).numpy()
    served = OnnxEncoder.from_pretrained(folder, MAX_TOKENS)
    assert served.layers == layers and served.dimension == expected.shape[1]
    for batch_size in (1, 4):
        np.testing.assert_allclose(served.encode(TEXTS, batch_size), expected, rtol=0, atol=1e-4)
    rounded = OnnxEncoder.from_pretrained(folder, MAX_TOKENS, int8=True).encode(TEXTS)
    lengths = np.linalg.norm(rounded, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((rounded * expected).sum(axis=1) / lengths).min() > 0.98  # random numbers, 32 wide


SERVED = """
import json, sys
for name in ("torch", "transformers", "onnx", "onnxscript"):
    sys.modules[name] = None
from router import Router
decisions = Router.from_pretrained(sys.argv[1]).route(json.loads(sys.argv[2]))
print(json.dumps([{"model": each.model, "difficulty": each.difficulty, **each.capabilities} for each in decisions]))
"""


def test_a_checkpoint_of_every_architecture_is_saved_and_served_where_there_is_no_torch(
    tiny_of_each_kind: Path, tmp_path: Path
) -> None:
    texts = [text for text in TEXTS if text]
    folder = tmp_path / "router"
    save_checkpoint(make_checkpoint(tiny_of_each_kind, MAX_TOKENS), folder)
    command = [sys.executable, "-c", SERVED, str(folder), json.dumps(texts)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for served, expected in zip(found, Router.from_pretrained(folder, backend="torch").route(texts), strict=True):
        assert served.pop("model") == expected.model
        assert served == pytest.approx({"difficulty": expected.difficulty, **expected.capabilities}, abs=1e-4)


def test_the_shipped_graphs_are_small_and_open_in_any_viewer_beside_unpacked_weights(tmp_path: Path) -> None:
    for file in (*(SHIPPED / "encoder" / name for name in GRAPHS.values()), SHIPPED / "heads.onnx"):
        assert file.stat().st_size <= MOST_BYTES
        model = onnx.load(file, load_external_data=False)
        stored = {each.external_data[0].value for each in model.graph.initializer if each.external_data}
        assert stored <= {"model.safetensors", "integers", "heads.safetensors"}
        assert model.opset_import[0].version == 21
    unpacked = QueryEncoder.from_pretrained(SHIPPED / "encoder")
    unpacked.save_pretrained(tmp_path)
    write_graphs(tmp_path, 128, (4, 7, 9))
    whole = onnx.load(tmp_path / "graph.onnx")  # reads the weights, which lie beside it
    word = next(each for each in whole.graph.initializer if each.name == "embeddings.word_embeddings.weight")
    assert onnx.numpy_helper.to_array(word).shape == (80000, 384)


def test_the_shipped_graphs_are_those_that_an_export_gives() -> None:
    facts = json.loads((SHIPPED / "encoder" / FACTS).read_text())
    assert facts["layers"] == json.loads((SHIPPED / "config.json").read_text())["encoder"]["layers"]
    assert len(facts["quantized"]) == 54  # six matrices in each of nine layers


def test_layers_that_share_their_matrices_share_them_in_both_graphs(tiny_encoder: Path, tmp_path: Path) -> None:
    described, _ = read_folder(tiny_encoder)
    sizes = {"embedding_size": 8, "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20}
    config = AlbertConfig(**sizes, num_hidden_layers=3, vocab_size=described.tokenizer.get_vocab_size())
    torch.manual_seed(0)
    network = AlbertModel(config, add_pooling_layer=False).eval()
    encoder = QueryEncoder(network, replace(described, config=config.to_dict()), MAX_TOKENS)
    encoder.save_pretrained(tmp_path, torch.float16)
    write_graphs(tmp_path, MAX_TOKENS, (3,))
    quantized = json.loads((tmp_path / FACTS).read_text())["quantized"]
    assert len(quantized) == len(set(quantized)) == 7  # one to the hidden size, six of the layer
    expected = QueryEncoder.from_pretrained(tmp_path, MAX_TOKENS).encode(TEXTS).numpy()
    np.testing.assert_allclose(OnnxEncoder.from_pretrained(tmp_path, MAX_TOKENS).encode(TEXTS), expected, atol=1e-4)


def test_saving_again_exports_nothing_anew(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Path(shutil.copytree(tiny_encoder, tmp_path / name)) for name in ("first", "second"))
    write_graphs(first, 512, (2, 1))
    monkeypatch.setattr(onnx_export, "export_graph", None)
    write_graphs(second, 128, (2, 1))
    for name in (FACTS, *GRAPHS.values()):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_network_that_cannot_be_exported_leaves_no_graph(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    before = sorted(folder.iterdir())

    def refuse(*given: object) -> None:
        raise ValueError("an operator that ONNX does not have")

    monkeypatch.setattr(onnx_export, "_export", refuse)
    with pytest.raises(CheckpointError, match="cannot be exported to ONNX: ValueError: an operator that ONNX does not"):
        write_graphs(folder, 512, (2,))
    monkeypatch.undo()
    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    with pytest.raises(CheckpointError, match="its ONNX graph differs from torch by"):
        write_graphs(folder, 512, (2,))
    monkeypatch.undo()
    monkeypatch.setattr(onnx_export, "LEAST_COSINE", 1.1)
    with pytest.raises(CheckpointError, match="with 8 bits its ONNX graph has a cosine of"):
        write_graphs(folder, 512, (2,))
    assert sorted(folder.iterdir()) == before
