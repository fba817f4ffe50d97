"""Learning-rate schedule: warm-up, then cosine, without a step count in the configuration."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Linear warm-up over the share `warmup` of all steps, then a cosine down to `floor` times the peak rate.

    `total_steps` is filled in by `RoutingModule` from the trainer's estimate; the scheduler steps once per batch.
    """

    def __init__(self, optimizer: Optimizer, warmup: float = 0.1, floor: float = 0.0, total_steps: int = 1) -> None:
        self.total_steps = total_steps
        self.warmup, self.floor = warmup, floor
        super().__init__(optimizer, self.factor)

    def factor(self, step: int) -> float:
        """Learning rate at `step` as a share of the peak."""
        rise = max(1.0, self.warmup * self.total_steps)
        if step < rise:
            return (step + 1) / (rise + 1)
        done = min(1.0, (step - rise) / max(1.0, self.total_steps - rise))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
