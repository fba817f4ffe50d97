"""Old path of `train.fit.schedule`, for class paths in users' YAML; it goes with the next release."""

import warnings

from train.fit.schedule import WarmupCosine

__all__ = ["WarmupCosine"]

warnings.warn("train.schedule has moved: write train.fit.schedule.WarmupCosine", DeprecationWarning, stacklevel=2)
