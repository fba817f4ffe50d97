"""Old import path of `train.fit.schedule`, kept for users' YAML; removed in the next release."""

import warnings

from train.fit.schedule import WarmupCosine

__all__ = ["WarmupCosine"]

warnings.warn("train.schedule has moved: write train.fit.schedule.WarmupCosine", DeprecationWarning, stacklevel=2)
