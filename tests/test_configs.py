"""Every shipped training configuration takes a step, and the files that README and docs/architecture.md name exist."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from train import cli
from train.data_folders.synthetic.command import write_planted

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_TRAINING = ("pools", "sweeps", "compare")  # folders whose files are no training configurations
CONFIGS = sorted(p for p in (REPOSITORY / "configs").rglob("*.yaml") if p.parent.name not in NOT_TRAINING)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs") / "data"
    write_planted(folder, 300)
    return folder


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_takes_a_step(config, world, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {
        "data.folder": world,
        "data.pools": f"[{world / 'pool.yaml'}]",
        "data.ood_benchmarks": "[]",
        "data.cache": tmp_path / "cache",
        "model.encoder": tiny_encoder,
        "model.layers": "[]",
        "trainer.accelerator": "cpu",
        "trainer.fast_dev_run": "true",
        "trainer.logger": "false",
    }
    if yaml.safe_load(config.read_text())["model"].get("freeze_layers"):
        changes["model.freeze_layers"] = 1  # the tiny encoder has two layers
    arguments = [part for key, value in changes.items() for part in (f"--{key}", str(value))]
    assert cli.main(["fit", "--config", str(config), *arguments]) == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_opens_with_what_it_is_how_long_it_takes_and_its_command(config):
    head = config.read_text().splitlines()[:3]
    assert all(line.startswith("# ") for line in head)
    assert head[2] == f"# lightning fit --config {config.relative_to(REPOSITORY)}"
    assert re.search(r"\d+ (s|min|h)\b", head[1])


@pytest.mark.parametrize("config", sorted(REPOSITORY.glob("configs/**/*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_names_our_classes_where_they_are_defined(config):
    for name in re.findall(r"class_path: (train\.[\w.]+)", config.read_text()):
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__module__ == module


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_files_that_a_page_names_exist(page):
    text = (REPOSITORY / page).read_text()
    named = re.findall(r"(?<![\w/])(?:router|train|configs|checkpoints|docs|scripts|tests)/[\w./-]*\w", text)
    assert len(named) > 5
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("top", ["router", "train"])
def test_every_package_is_named_on_the_page_of_the_architecture(top):
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    packages = [file.parent.relative_to(REPOSITORY) for file in (REPOSITORY / top).rglob("__init__.py")]
    missing = [str(each) for each in packages if not re.search(rf"(?<![\w-]){each.name}/", text)]
    assert missing == []
