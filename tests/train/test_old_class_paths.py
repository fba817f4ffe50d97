"""Class paths that users' YAML may name still work for one release, with a warning."""

import sys

import pytest
import yaml

from train import cli
from train.data_folders.synthetic.command import write_planted

pytestmark = pytest.mark.end_to_end


def test_a_configuration_with_the_old_class_paths_trains_and_warns(tiny_encoder, tmp_path, monkeypatch):
    for module in ("train.schedule", "train.run_logger"):
        monkeypatch.delitem(sys.modules, module, raising=False)  # a module warns when it is imported
    write_planted(tmp_path / "data", 300)
    config = {
        "model": {
            "encoder": str(tiny_encoder),
            "hidden": 16,
            "lr_scheduler": {"class_path": "train.schedule.WarmupCosine", "init_args": {"warmup": 0.2}},
        },
        "data": {
            "folder": str(tmp_path / "data"),
            "pools": [str(tmp_path / "data" / "pool.yaml")],
            "cache": str(tmp_path / "cache"),
        },
        "trainer": {
            "accelerator": "cpu",
            "fast_dev_run": True,
            "logger": {
                "class_path": "train.run_logger.RunLogger",
                "init_args": {"save_dir": str(tmp_path / "runs"), "mode": "disabled"},
            },
        },
        "export": {"folder": None},
    }
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(config))
    with pytest.warns(DeprecationWarning, match=r"train\.(schedule|run_logger) has moved") as caught:
        assert cli.main(["fit", "--config", str(tmp_path / "old.yaml")]) == 0
    moved = {str(warning.message) for warning in caught if "has moved" in str(warning.message)}
    assert moved == {
        "train.schedule has moved: write train.fit.schedule.WarmupCosine",
        "train.run_logger has moved: write train.runs.wandb_logger.RunLogger",
    }
