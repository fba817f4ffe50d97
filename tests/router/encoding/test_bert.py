from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.tiny_checkpoint import edit

from router.encoding.bert import Bert
from router.encoding.sentence_folder import can_build
from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError

B, T, E, H = 3, 5, 6, 2
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": E,
    "num_attention_heads": H,
    "num_hidden_layers": 2,
    "intermediate_size": 7,
    "max_position_embeddings": 8,
    "layer_norm_eps": 1e-5,
}


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_it_computes_what_transformers_computes(activation: str) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = CONFIG | {"hidden_act": activation}
    theirs = BertModel(BertConfig(**{key: value for key, value in config.items() if key != "model_type"})).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_()
    ours = Bert(config).eval()
    ours.load_state_dict(theirs.state_dict())  # strict: the names are the same
    ids = torch.randint(11, (B, T))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        hidden = ours(ids, mask).last_hidden_state
    assert hidden.shape == (B, T, E)
    torch.testing.assert_close(hidden[mask.bool()], expected[mask.bool()], rtol=1e-4, atol=1e-5)


def test_what_is_masked_changes_nothing_elsewhere() -> None:
    torch.manual_seed(0)
    network = Bert(CONFIG).eval()
    for parameter in network.parameters():
        parameter.data.normal_()
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    with torch.no_grad():
        one = network(torch.tensor([[1, 2, 3, 4, 5]]), mask).last_hidden_state
        other = network(torch.tensor([[1, 2, 3, 9, 8]]), mask).last_hidden_state
    assert torch.equal(one[:, :3], other[:, :3])


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({}, True),
        ({"hidden_act": "relu"}, False),
        ({"position_embedding_type": "relative_key"}, False),
        ({"is_decoder": True}, False),
        ({"model_type": "roberta"}, False),
    ],
)
def test_it_says_which_networks_it_can_compute(changes: dict[str, Any], can: bool) -> None:
    assert can_build(CONFIG | changes) is can


# What transformers loads for us


def test_code_that_a_folder_brings_along_is_never_run(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    marker = folder / "was-run"
    (folder / "theirs.py").write_text(f"open({str(marker)!r}, 'w')\nclass Theirs: pass\n")
    theirs = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Theirs", "AutoModel": "theirs.T"}}
    edit(folder / "config.json", lambda raw: raw.update(theirs))
    monkeypatch.setattr("builtins.input", lambda *prompt: pytest.fail("nobody is asked whether to run it"))
    with pytest.raises(CheckpointError, match="trust_remote_code"):
        QueryEncoder.from_pretrained(folder)
    assert not marker.exists()


def test_whatever_loads_by_transformers_states_that_no_code_comes_along() -> None:
    names = ("AutoModel", "AutoTokenizer", "AutoConfig", "SentenceTransformer")
    calls = [
        (path.name, ast.unparse(node))
        for package in ("router", "train")
        for path in (Path(__file__).parents[3] / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(names)
    ]
    assert calls and not [call for call in calls if "trust_remote_code=False" not in call[1]]
