"""Every shipped training configuration takes a step, and what the README says exists."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from train import cli
from train.planted import write_planted
from train.run_logger import resolve_mode
from train.schedule import WarmupCosine

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
    arguments = [part for key, value in changes.items() for part in (f"--{key}", str(value))]
    assert cli.main(["fit", "--config", str(config), *arguments]) == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_opens_with_what_it_is_how_long_it_takes_and_its_command(config):
    head = config.read_text().splitlines()[:3]
    assert all(line.startswith("# ") for line in head)
    assert head[2] == f"# lightning fit --config {config.relative_to(REPOSITORY)}"
    assert re.search(r"\d+ (s|min|h)\b", head[1])


def test_files_named_in_the_readme_exist():
    text = (REPOSITORY / "README.md").read_text()
    named = re.findall(r"\b(?:configs|checkpoints|docs|scripts)/[\w./-]*\w", text)
    assert len(named) > 5
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
    tree = next(block for block in text.split("```") if "errors.py" in block)
    sources = re.findall(r"(?<![\w*])(\w+\.py)\b", tree)
    assert len(sources) > 30
    assert [name for name in sources if not list(REPOSITORY.glob(f"*/{name}"))] == []
    assert len(text.splitlines()) <= 200


def test_every_module_is_in_the_readmes_tree():
    text = (REPOSITORY / "README.md").read_text()
    modules = [p.name for p in REPOSITORY.glob("router/*.py")] + [p.name for p in REPOSITORY.glob("train/*.py")]
    patterns = ["__*", *re.findall(r"\w*\*\w*\.py", text)]
    missing = [m for m in modules if m not in text and not any(fnmatch(m, pattern) for pattern in patterns)]
    assert missing == []


def test_the_schedule_warms_up_and_ends_at_its_floor():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, warmup=0.2, floor=0.1, total_steps=100)
    assert [round(schedule.factor(s), 3) for s in (0, 19, 20, 60, 100, 500)] == [0.048, 0.952, 1.0, 0.55, 0.1, 0.1]


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_wandb_goes_online_only_with_a_key_or_on_request(monkeypatch, tmp_path, variables, mode):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode("auto") == mode
    assert resolve_mode("online") == "online"
