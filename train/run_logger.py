"""Old path of `train.runs.wandb_logger`, for class paths in users' YAML; it goes with the next release."""

import warnings

from train.runs.wandb_logger import RunLogger

__all__ = ["RunLogger"]

warnings.warn("train.run_logger has moved: write train.runs.wandb_logger.RunLogger", DeprecationWarning, stacklevel=2)
