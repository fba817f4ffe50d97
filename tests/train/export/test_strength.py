"""Strengths on planted answers: who is stronger is found though systems answered different benchmarks."""

import numpy as np
import pytest
import torch

from train.data.published_scores import NO_SCORES, PublishedScores
from train.export.strength import USUAL_COST, Answers, fit_strength

ABILITY = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 1.5])


def planted(cost=1.3, seen=None, shift=(0.0, -2.0)):
    torch.manual_seed(0)
    level, benchmark = 1 + 4 * torch.rand(6000), torch.arange(6000) % 2
    logit = ABILITY + torch.tensor(shift)[benchmark][:, None] - cost * (level[:, None] - 3)
    score = (torch.rand(6000, 6) < logit.sigmoid()).float()
    seen = torch.ones(6000, 6, dtype=torch.bool) if seen is None else seen(benchmark)
    return Answers(level, benchmark, score, seen)


def halves(benchmark):
    """The three weaker systems answer the easy benchmark, the others the hard one, two in the middle both."""
    easy = torch.tensor([True, True, True, True, False, False])
    hard = torch.tensor([False, False, True, True, True, True])
    return torch.where((benchmark == 0)[:, None], easy, hard)


def test_the_cost_of_a_level_and_the_strengths_are_found():
    found = fit_strength(planted(), torch.zeros(6, dtype=torch.long), 1, NO_SCORES)
    assert found.cost.tolist() == pytest.approx([1.3], abs=0.1)
    differences = found.strength - found.strength.mean()
    assert differences.tolist() == pytest.approx((ABILITY - ABILITY.mean()).tolist(), abs=0.4)


def test_a_hard_benchmark_does_not_make_those_weak_that_answered_it_alone():
    answers = planted(seen=halves, shift=(0.0, -3.5))
    plain = torch.where(answers.seen, answers.score, torch.nan).nanmean(0)
    assert plain[0] > plain[5]  # the weakest has the better mean
    found = fit_strength(answers, torch.zeros(6, dtype=torch.long), 1, NO_SCORES)
    assert found.strength[5] > found.strength[3] > found.strength[0]


def test_published_scores_tell_systems_apart_that_have_few_answers():
    answers = planted(seen=lambda benchmark: (torch.arange(6000) < 12)[:, None].expand(6000, 6))
    boards = np.repeat(np.arange(8), 6)
    score = (ABILITY + torch.tensor([0.5])).sigmoid().numpy()
    published = PublishedScores(np.tile(np.arange(6), 8), boards, np.tile(score, 8).astype(np.float32))
    protocol = torch.zeros(6, dtype=torch.long)
    blind, told = (fit_strength(answers, protocol, 1, each).strength for each in (NO_SCORES, published))
    assert (told[1:] > told[:-1]).all()
    assert (told - ABILITY).std() < 0.7 * (blind - ABILITY).std()


def test_protocols_are_apart_and_one_without_answers_has_the_usual_cost():
    answers = planted(seen=lambda benchmark: torch.tensor([True] * 3 + [False] * 3).expand(6000, 6))
    found = fit_strength(answers, torch.tensor([0, 0, 0, 1, 1, 1]), 2, NO_SCORES)
    assert found.cost[1] == USUAL_COST and found.cost[0] == pytest.approx(1.3, abs=0.15)
    assert found.strength[3:].tolist() == [0, 0, 0]
