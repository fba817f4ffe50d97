"""The learning rate rises, falls as a cosine, and stays at its floor."""

import torch

from train.fit.schedule import WarmupCosine


def test_the_schedule_warms_up_and_ends_at_its_floor():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, warmup=0.2, floor=0.1, total_steps=100)
    assert [round(schedule.factor(s), 3) for s in (0, 19, 20, 60, 100, 500)] == [0.048, 0.952, 1.0, 0.55, 0.1, 0.1]
