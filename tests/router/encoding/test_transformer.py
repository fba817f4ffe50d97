"""What transformers loads for us: no code that comes with the weights."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from fixtures.tiny_checkpoint import edit

from router.encoding.torch_encoder import QueryEncoder
from router.errors import CheckpointError


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
