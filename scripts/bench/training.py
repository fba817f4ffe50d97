"""Training speed of a configuration, in samples a second: `python scripts/bench/training.py configs/demo.yaml`.

Trains some steps into a temporary folder and times those after the first ones, which warm up. Arguments that are not
its own go to `python -m train fit` (`--trainer.accelerator gpu`). Prints JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from timing import spread, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parent))  # by this name the command line finds the callback


class StepTimes(Callback):
    """Seconds and samples of every training step, validation left out."""

    seen: list[tuple[float, int]] = []  # noqa: RUF012  # of the one run of this process

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        wait_for(pl_module.device)
        self.start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        wait_for(pl_module.device)
        self.seen.append((time.perf_counter() - self.start, len(batch["row"])))


def figures(seen: Sequence[tuple[float, int]], warm_up: int) -> dict[str, float]:
    """Medians and spread over the steps after `warm_up`.

    >>> figures([(9.0, 4), (2.0, 4), (1.0, 4), (4.0, 4)], warm_up=1)["samples_per_s"]
    2.0
    """
    rates = [samples / seconds for seconds, samples in seen[warm_up:]]
    low, middle, high = spread(rates)
    return {"steps": len(rates), "samples_per_s": middle, "p10": low, "p90": high}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; 0 when done."""
    import training  # this file by the name that the callback is found under, so that both share one list

    from train import cli

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=60, help="default %(default)s")
    parser.add_argument("--warm-up", type=int, default=20, help="of them not counted (default %(default)s)")
    options, rest = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        command = ["fit", "--config", options.config, "--trainer.max_steps", str(options.steps)]
        command += ["--trainer.max_epochs", "-1", "--trainer.limit_val_batches", "0", "--trainer.logger", "false"]
        command += ["--trainer.callbacks", "training.StepTimes", "--trainer.default_root_dir", folder]
        command += ["--export.folder", "null", "--trainer.enable_checkpointing", "false"]
        code = cli.main([*command, *rest])
    if code:
        return code
    about = {"config": options.config, "torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(about | figures(training.StepTimes.seen, options.warm_up)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
