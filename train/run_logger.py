"""Old import path of `train.runs.wandb_logger`, kept for users' YAML; removed in the next release."""

import warnings

from train.runs.wandb_logger import RunLogger

__all__ = ["RunLogger"]

warnings.warn("train.run_logger has moved: write train.runs.wandb_logger.RunLogger", DeprecationWarning, stacklevel=2)
