"""`python -m train risk` on hand-made outcomes, and once on a planted world."""

import json
from argparse import Namespace

import numpy as np
import pytest

from router.policy.goals import DIALS
from train.__main__ import main
from train.studies.held_out import HeldOut
from train.studies.risk import judge, losses, study

RANGE = 0.001


def world(queries, seed, premium=0.05):
    """Two models: the dear one scores .75, the cheap one the same on 60% of the queries, `premium` less on average.

    Half of the queries are easy for both, which predictions say.
    """
    generator = np.random.default_rng(seed)
    easy = generator.uniform(size=queries) < 0.5
    logit = np.where(easy, 3.0, 0.0)
    quality = 1 / (1 + np.exp(-np.stack([logit, logit + 0.2], axis=1)))
    score = np.repeat((generator.uniform(size=queries) < quality[:, 1]).astype(float)[:, None], 2, axis=1)
    lost = ~easy & (generator.uniform(size=queries) < 2 * premium) & (score[:, 0] > 0)
    score[lost, 0] = 0.0
    cost = np.broadcast_to([0.0001, 0.0011], (queries, 2))
    return HeldOut(np.stack([logit, logit + 0.2], axis=1), cost, score, cost, best_single=1, cheapest=0)


def test_losses_are_against_the_best_single_model_and_costs_in_its_mean():
    held = world(300, 0)
    loss, cost = losses(held, RANGE)
    assert loss.shape == cost.shape == (len(DIALS), 300)
    assert (loss[0] == 0).all()  # dial 0 takes the dear model
    assert cost[0] == pytest.approx(1.0)
    assert loss[-1].tolist() == (held.score[:, 1] - held.score[:, 0]).tolist()
    assert cost[-1] == pytest.approx(1 / 11)


def test_a_dial_is_certified_that_saves_money_and_keeps_its_promise():
    report = study(world(2000, 1), world(2000, 2), RANGE, Namespace(delta=0.02, epsilon=0.1))
    assert 0 < report["test"]["dial"] < 10
    assert report["validation"]["dial"] == report["test"]["dial"]
    assert report["test"]["loss"] <= 0.02
    assert report["test"]["cost_saved"] > 0.3


def test_nothing_is_certified_where_the_router_is_worse_and_the_best_single_model_answers():
    held = world(500, 3, premium=0.4)
    turned = HeldOut(held.logits[:, ::-1], held.cost, held.score, held.realised, 1, 0)  # prefers the worse one
    report = study(turned, turned, RANGE, Namespace(delta=0.01, epsilon=0.1))
    assert report["test"] == {"n": 500, "dial": None, "loss": 0.0, "loss_se": 0.0, "cost_saved": 0.0}


def test_the_loss_has_a_standard_error():
    loss = np.array([[0.0, 0.0, 1.0, 0.0]])
    judged = judge(0, loss, np.full((1, 4), 0.75))
    assert judged == {"dial": 0.0, "loss": 0.25, "loss_se": pytest.approx(0.25), "cost_saved": 0.25}


def test_the_command_prints_what_was_chosen_and_how_it_did(planted_checkpoint, tmp_path, capsys):
    data, checkpoint = planted_checkpoint
    where = ["risk", str(checkpoint), "--data", str(data), "--cache", str(tmp_path)]
    assert main([*where, "--delta", "0.5", "--epsilon", "0.2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pool"] == "planted"
    assert report["validation"]["n"] + report["test"]["n"] > 50
    assert main([*where, "--folds", "7,8"]) == 1
    assert "no fold may do both" in capsys.readouterr().err
    assert main([*where, "--epsilon", "2"]) == 1
    assert "error level in (0, 1), got 0.01 and 2.0" in capsys.readouterr().err
