"""Training end to end on a small planted world over a tiny encoder: what is learned, exported, resumed, refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from safetensors.torch import load_file

from router import Router
from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder
from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import evaluate_router
from train import cli
from train.__main__ import main as command
from train.data_folders.synthetic.command import write_planted

pytestmark = pytest.mark.end_to_end

QUERIES, EPOCHS = 1500, 6


class Stop(Callback):
    """Ends a run in the middle of an epoch, as a kill would."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == 3 and batch_idx == 1:
            raise KilledError


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "data"
    write_planted(folder, QUERIES)
    return folder


@pytest.fixture
def config(world, tiny_encoder, tmp_path):
    """A configuration file for the planted world; returns a function that writes it with changes."""

    def write(**sections):
        run = tmp_path / "run"
        base = {
            "seed_everything": 0,
            "model": {
                "encoder": str(tiny_encoder),
                "max_tokens": 48,
                "hidden": 32,
                "label_weight": 0.5,
                "decision_weight": 0.2,
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.005}},
                "lr_scheduler": {"class_path": "train.fit.schedule.WarmupCosine"},
            },
            "data": {
                "folder": str(world),
                "pools": [str(world / "pool.yaml")],
                "batch_size": 64,
                "cache": str(tmp_path.parent / "cache"),
                "minimum_count": 5,
            },
            "trainer": {
                "max_epochs": EPOCHS,
                "accelerator": "cpu",
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "default_root_dir": str(run),
                "callbacks": [
                    {
                        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                        "init_args": {
                            "dirpath": str(run / "checkpoints"),
                            "monitor": "val/aiq_margin",
                            "mode": "max",
                            "filename": "best",
                        },
                    },
                    {
                        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                        "init_args": {
                            "dirpath": str(run / "checkpoints"),
                            "filename": "last",
                            "enable_version_counter": False,
                        },
                    },
                ],
            },
            "export": {"folder": str(run / "router"), "name": "test"},
        }
        for section, change in sections.items():
            base[section] |= change
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(base))
        return file, run

    return write


def weights(run: Path):
    return load_file(run / "router" / "heads.safetensors")


def test_a_run_exports_a_router_that_has_learned_more_than_the_best_constant(config, world, capsys):
    file, run = config(model={"encoder": DEFAULT_ENCODER, "hidden": 128})  # real weights: the text must be understood
    assert cli.main(["fit", "--config", str(file), "--trainer.max_epochs", "15"]) == 0
    report = evaluate_router(Router.from_pretrained(run / "router"), read_dataset(world), folds=[7, 8, 9])
    assert report["quality"] > report["best_single"]
    assert report["aiq"] > report["aiq_zero"] + 0.1
    assert report["brier"] < report["brier_constant"]
    assert report["first_capability"] > 0.8
    assert json.loads((run / "validation.json").read_text())["planted"]["n"] > 20
    for picture in ("cost_quality.png", "profiles.png"):
        assert (run / picture).stat().st_size > 5000

    exported = Router.from_pretrained(run / "router").checkpoint.dial_tables["planted"]
    assert exported.queries > 20 and exported.score[0] > exported.score[-1]
    assert command(["dials", str(run / "router"), "--data", str(world), "--cache", str(run / "cache")]) == 0
    measured = Router.from_pretrained(run / "router").checkpoint.dial_tables["planted"]
    assert (measured.measured_with, measured.queries) == (exported.measured_with, exported.queries)
    for column in ("cost_usd_per_1k", "quality"):  # the exported encoder has half precision; choices change in steps
        close = np.isclose(getattr(measured, column), getattr(exported, column), rtol=0.02)
        assert close.sum() >= len(close) - 2
    capsys.readouterr()

    where = ["--data", str(world), "--folds", "7,8,9"]
    for _ in range(2):  # the second time replaces the section
        assert command(["measure", str(run / "router"), *where]) == 0
        assert json.loads(capsys.readouterr().out)["pools"]["planted"]["quality"] == pytest.approx(report["quality"])
    card = (run / "router" / "README.md").read_text()
    assert card.count("## Measured on rows it never saw") == 1
    assert f"| planted | {report['n']} |" in card and "--folds 7,8,9" in card
    Router.from_pretrained(run / "router")  # an edited card is no altered checkpoint


def test_the_exported_weights_are_the_best_epochs_not_the_last(config, world):
    file, run = config()
    assert cli.main(["fit", "--config", str(file)]) == 0
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == EPOCHS - 1
    exported = weights(run)["heads.trunk.0.weight"]  # no calibration touches it
    assert torch.equal(exported, best["state_dict"]["network.heads.trunk.0.weight"])
    assert json.loads((run / "router" / "config.json").read_text())["training"]["best_epoch"] == best["epoch"]
    if best["epoch"] != last["epoch"]:
        assert not torch.equal(exported, last["state_dict"]["network.heads.trunk.0.weight"])

    scores = run / "router" / "benchmarks.json"  # the command writes the same for an older checkpoint
    written = scores.read_bytes()
    scores.unlink()
    assert command(["benchmarks", str(run / "router"), "--data", str(world)]) == 0
    assert scores.read_bytes() == written and b"planted-coding" in written


@pytest.mark.parametrize("more", [{}, {"prototypes": 20, "category_weight": 1.0}])
def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_one(config, more):
    file, run = config(model=more)
    assert cli.main(["fit", "--config", str(file)]) == 0
    whole = weights(run)
    (run / "router").rename(run / "whole")
    (run / "checkpoints").rename(run / "whole-checkpoints")
    stop = {"class_path": f"{__name__}.Stop"}
    with pytest.raises(KilledError):
        cli.main(["fit", "--config", str(file), f"--trainer.callbacks+={json.dumps(stop)}"])
    assert not (run / "router").exists()
    assert cli.main(["fit", "--config", str(file), "--ckpt_path", "last"]) == 0
    resumed = weights(run)
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_another_seed_ends_elsewhere(config):
    ends = []
    for seed in (0, 1):
        file, run = config()
        assert (
            cli.main(["fit", "--config", str(file), "--seed_everything", str(seed), "--trainer.max_epochs", "1"]) == 0
        )
        ends.append(weights(run)["heads.trunk.0.weight"])
    assert not torch.equal(*ends)


def test_a_network_is_built_beside_its_data_wherever_lightning_wants_new_tensors(config, monkeypatch):
    """As on a GPU, where data and a network half built there did not go together."""
    monkeypatch.setattr(Strategy, "tensor_init_context", lambda self, empty_init=None: torch.device("meta"))
    file, _ = config()
    assert cli.main(["fit", "--config", str(file), "--trainer.max_epochs", "1"]) == 0


def test_fine_tuning_moves_the_encoder_and_exports_it(config, tiny_encoder, tmp_path):
    start = Path(shutil.copytree(tiny_encoder, tmp_path / "start"))
    named = json.loads((start / "config.json").read_text()) | {"_name_or_path": "owner/its-origin"}
    (start / "config.json").write_text(json.dumps(named))
    file, run = config(
        model={
            "encoder": str(start),
            "freeze_encoder": False,
            "encoder_lr": 0.001,
            "residual": 2,
            "prototypes": 10,
            "likeness": 3,
        }
    )
    assert cli.main(["fit", "--config", str(file), "--trainer.max_epochs", "1"]) == 0
    before = load_file(Path(tiny_encoder) / "model.safetensors")
    after = load_file(run / "router" / "encoder" / "model.safetensors")
    name = next(n for n in before if n.endswith("query.weight"))
    assert not np.allclose(before[name].float(), after[name].float(), atol=1e-4)
    assert "\nbase_model: owner/its-origin\n---\n" in (run / "router" / "README.md").read_text()
    decision = Router.from_pretrained(run / "router").route("write a proof in python")
    assert decision.reasons is not None and decision.reasons.other and decision.reasons.prototypes


def test_frozen_layers_stay_and_packed_weights_are_exported(config, tiny_encoder):
    file, run = config(
        model={"freeze_encoder": False, "encoder_lr": 0.001, "freeze_layers": 1}, export={"packed": True}
    )
    assert cli.main(["fit", "--config", str(file), "--trainer.max_epochs", "1"]) == 0
    router = Router.from_pretrained(run / "router", backend="torch")
    assert router.checkpoint.encoder.described.packed
    before = QueryEncoder.from_pretrained(tiny_encoder).state_dict()
    moved = {
        name
        for name, tensor in router.checkpoint.encoder.state_dict().items()
        if (tensor - before[name]).abs().max() > before[name].abs().max() / 100
    }
    assert moved and all("encoder.layer.1." in name for name in moved)


def test_a_run_with_prototypes_exports_them_and_what_tells_categories(config, world):
    file, run = config(model={"encoder": DEFAULT_ENCODER, "hidden": 128, "prototypes": 100, "category_weight": 1.0})
    assert cli.main(["fit", "--config", str(file), "--trainer.max_epochs", "3"]) == 0
    kept = weights(run)
    assert kept["heads.prototypes.points"].shape == (100, 128)
    categories = read_dataset(world).queries[["benchmark", "category"]].drop_duplicates()
    assert kept["heads.prototypes.category.weight"].shape == (len(categories), 128)
    for coordinates in kept["heads.prototypes.coordinates"].split([100, len(categories)]):
        assert coordinates.shape[1] == 64 and coordinates.abs().max() > 0
    report = evaluate_router(Router.from_pretrained(run / "router"), read_dataset(world), folds=[8, 9])
    assert report["aiq"] > report["aiq_zero"] + 0.05


@pytest.mark.filterwarnings("ignore")  # of the killed process, not ours
def test_sigkill_at_any_time_leaves_a_run_that_can_be_resumed(config):
    file, run = config(trainer={"max_epochs": 60})
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    process = subprocess.Popen(
        [sys.executable, "-m", "train", "fit", "--config", str(file)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]
    assert 0 <= reached < 59
    assert not (run / "router").exists()
    more = ["--ckpt_path", "last", "--trainer.max_epochs", str(reached + 2)]
    assert cli.main(["fit", "--config", str(file), *more]) == 0
    assert (run / "router" / "heads.safetensors").exists()


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("data", {"folder": "nowhere"}, "no data at nowhere"),
        ("data", {"train_folds": [11]}, "whole numbers from 0 to 9"),
        ("data", {"ood_benchmarks": ["mmlu-pro"]}, "mmlu-pro"),
        ("data", {"pools": ["missing.yaml"]}, "missing.yaml"),
        ("model", {"prototypes": 2001}, "model.prototypes: got 2001; write a number from 0 to 2,000"),
        ("model", {"category_weight": 1.0}, "model: category_weight needs prototypes"),
    ],
)
def test_a_users_mistake_is_one_line_and_not_a_traceback(config, capsys, section, change, message):
    file, _ = config(**{section: change})
    assert cli.main(["fit", "--config", str(file)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("train: error: ") and message in error
