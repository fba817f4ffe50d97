from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures.tiny_checkpoint import edit
from safetensors.torch import load_file, save_file
from torch import Tensor

from router.encoding.torch_encoder import QueryEncoder
from router.encoding.transformer import load_transformer
from router.errors import CheckpointError

State = dict[str, Tensor]


def changed(folder: Path, target: Path, change: Callable[[State], State]) -> Path:
    """A copy of the folder with other weights."""
    copy = Path(shutil.copytree(folder, target / "changed"))
    save_file(change(load_file(folder / "model.safetensors")), copy / "model.safetensors")
    return copy


def test_it_is_loaded_in_float32_without_a_pooler_and_in_silence(
    tiny_of_each_kind: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    settings = logging.get_verbosity(), logging.is_progress_bar_enabled()
    folder = changed(tiny_of_each_kind, tmp_path, lambda state: {k: t.half() for k, t in state.items()} | {
        "lm_head.bias": torch.zeros(3), "position_ids": torch.arange(5)})  # fmt: skip
    network = load_transformer(folder)
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    assert not network.training and not [name for name in network.state_dict() if "pooler" in name]
    assert network.config._attn_implementation == "sdpa"
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == settings


def test_a_missing_weight_is_named(tiny_of_each_kind: Path, tmp_path: Path) -> None:
    name = next(name for name in reversed(load_file(tiny_of_each_kind / "model.safetensors")) if "pooler" not in name)
    folder = changed(tiny_of_each_kind, tmp_path, lambda state: {k: t for k, t in state.items() if k != name})
    with pytest.raises(CheckpointError, match=rf"lacks weights that its config\.json asks for, .*\['{name}'\]"):
        load_transformer(folder)


def test_names_of_other_checkpoints_are_found(tiny_encoder: Path, tmp_path: Path) -> None:
    old = (".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta")

    def renamed(state: State) -> State:
        for new, name in old:
            state = {key.replace(new, name): tensor for key, tensor in state.items()}
        return {f"bert.{key}": tensor for key, tensor in state.items()}

    found = load_transformer(changed(tiny_encoder, tmp_path, renamed)).state_dict()
    expected = load_file(tiny_encoder / "model.safetensors")
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_an_architecture_without_fused_attention_is_loaded(tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import DebertaV2Config, DebertaV2Model

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
    DebertaV2Model(DebertaV2Config(vocab_size=200, **sizes)).save_pretrained(folder)
    assert QueryEncoder.from_pretrained(folder).encode(["two", "prove that two is prime"]).isfinite().all()


def test_an_encoder_decoder_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    T5Model(T5Config(vocab_size=9, d_model=4, d_kv=2, d_ff=4, num_layers=1, num_heads=2)).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="holds an encoder-decoder; an encoder"):
        load_transformer(folder)


@pytest.mark.parametrize("raw", [{"model_type": "unheard-of"}, {"num_attention_heads": "two"}])
def test_a_config_that_transformers_cannot_use_is_refused(tiny_encoder: Path, tmp_path: Path, raw: object) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    edit(folder / "config.json", lambda config: config.update(raw))
    with pytest.raises(CheckpointError, match=r"transformers cannot load the encoder in .*encoder"):
        load_transformer(folder)


def test_code_that_a_folder_brings_along_is_never_run(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        if ast.unparse(node.func) != "AutoConfig.for_model"  # values to a config, by model_type alone
    ]
    assert calls and not [call for call in calls if "trust_remote_code=False" not in call[1]]
