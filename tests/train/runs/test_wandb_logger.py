"""A run configured by YAML logs what somebody who compares runs needs, offline, and says when it failed."""

from pathlib import Path

import pytest
import wandb
import yaml

from router.errors import UsageError
from train import cli
from train.data_folders.synthetic.command import write_planted
from train.fit.module import RoutingModule
from train.runs.store import only_in_wandb, read_folders
from train.runs.wandb_logger import resolve_mode


@pytest.fixture(scope="module")
def fit(tmp_path_factory, tiny_encoder):
    """A function that trains an epoch with the offline logger of a YAML file; exit code, and the folder of the run."""
    world = tmp_path_factory.mktemp("world") / "data"
    write_planted(world, 300)

    def run(name, mode="offline"):
        folder = tmp_path_factory.mktemp(name)
        best = {"monitor": "val/aiq_margin", "mode": "max"}
        logger = {"name": name, "group": "g", "tags": ["a", "b"], "save_dir": str(folder), "mode": mode}
        config = {
            "seed_everything": 3,
            "model": {
                "encoder": str(tiny_encoder),
                "hidden": 16,
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.005}},
            },
            "data": {"folder": str(world), "pools": [str(world / "pool.yaml")], "cache": str(folder / "cache")},
            "trainer": {
                "max_epochs": 2,
                "accelerator": "cpu",
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
                "callbacks": [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": best}],
                "logger": {"class_path": "train.runs.wandb_logger.RunLogger", "init_args": logger},
            },
            "export": {"folder": None},
        }
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        try:
            return cli.main(["fit", "--config", str(folder / "run.yaml")]), folder
        finally:
            wandb.finish()  # as the end of the process does

    return run


@pytest.fixture(scope="module")
def logged(fit):
    code, folder = fit("logged")
    assert code == 0
    (run,) = read_folders([folder])
    return run, folder


def test_name_group_and_tags_of_the_yaml_reach_the_run(logged):
    run, _ = logged
    assert (run.name, run.group, run.tags, run.state) == ("logged", "g", ("a", "b"), "finished")


def test_the_log_has_the_id_of_wandbs_run(logged):
    run, folder = logged
    (file,) = {path.resolve() for path in folder.rglob("run-*.wandb")}
    assert file.name == f"run-{run.id}.wandb"
    assert only_in_wandb([folder], [run]) == []


def test_with_wandb_disabled_the_log_is_written_all_the_same(fit, logged):
    code, folder = fit("disabled", mode="disabled")
    (run,) = read_folders([folder])
    assert (code, run.name, run.state) == (0, "disabled", "finished")
    assert run.metrics == logged[0].metrics and run.config.keys() == logged[0].config.keys()


def test_the_configuration_has_optimizer_data_and_trainer_but_not_the_logger(logged):
    config = logged[0].config
    assert config["seed_everything"] == 3
    assert config["model.hidden"] == 16 and config["model.optimizer.init_args.lr"] == 0.005
    assert config["data.val_folds"] == [7] and config["trainer.max_epochs"] == 2
    assert {name.partition(".")[0] for name in config} == {"seed_everything", "model", "data", "trainer", "export"}
    assert not [name for name in config if "logger" in name]


def test_losses_validation_per_pool_and_the_best_epochs_figures_are_metrics(logged):
    metrics = logged[0].metrics
    assert {"train/loss", "train/label", "train/outcome", "train/length", "val/aiq_margin"} <= set(metrics)
    figures = {"aiq_margin", "quality_margin", "half_cost_margin", "ece"}
    for stage in ("val", "best"):
        assert {f"{stage}/planted/{name}" for name in figures} <= set(metrics)
        assert {f"{stage}/first_capability", f"{stage}/first_domain"} <= set(metrics)
    assert metrics["best/epoch"] in (0, 1)
    assert metrics["best/aiq_margin"] >= metrics["val/aiq_margin"] - 1e-6


def test_the_final_table_and_both_images_are_kept_without_an_export(logged):
    names = [path.name for path in logged[1].rglob("*") if "media" in path.parts]
    for start, end in (("validation_", ".json"), ("cost_quality_", ".png"), ("profiles_", ".png")):
        assert [name for name in names if name.startswith(start) and name.endswith(end)], names


def test_checkpoints_of_a_run_without_a_dirpath_go_into_its_own_folder(logged):
    run, folder = logged
    (kept,) = folder.rglob("*.ckpt")
    assert kept.parent == Path(folder, "inferencedynamics", run.id, "checkpoints")


def test_a_run_that_ends_in_an_error_is_failed(fit, monkeypatch, capsys):
    def refuse(*_):
        raise UsageError("no more")

    monkeypatch.setattr(RoutingModule, "on_train_epoch_end", refuse)
    code, folder = fit("refused")
    assert code == 1 and capsys.readouterr().err.endswith("train: error: no more\n")
    (run,) = read_folders([folder])
    assert (run.name, run.state) == ("refused", "failed")


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
