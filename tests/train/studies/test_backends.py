"""`python -m train backends`: by hand, on a planted world, and once as a command."""

import json

import numpy as np

from train.__main__ import main
from train.studies.backends import compare

# B, M = 4, 2; dial 0: utility is quality.
QUALITY = np.array([[0.9, 0.1], [0.2, 0.6], [0.5, 0.500002], [0.3, 0.4]])
OTHER = np.array([[0.8, 0.1], [0.2, 0.6], [0.6, 0.5], [0.5, 0.4]])  # the last two choose the other model
SCORE = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
COST = np.ones((4, 2))


def test_different_decisions_are_counted_apart_from_ties():
    figures = compare(QUALITY, OTHER, np.zeros(4), (COST, COST), SCORE)
    assert figures == {"equal": 0.5, "unexplained": 0.25, "score": 0.75, "lost": 0.25}


def test_a_router_agrees_with_itself():
    figures = compare(QUALITY, QUALITY, np.ones(4), (COST, COST), SCORE)
    assert (figures["equal"], figures["unexplained"], figures["lost"]) == (1.0, 0.0, 0.0)


def test_other_predicted_costs_can_change_decisions_as_well():
    dear = np.array([[1.0, 0.0]] * 4)
    figures = compare(QUALITY, QUALITY, np.ones(4), (COST, dear), SCORE)
    assert figures["equal"] == 0.75  # where the first model was chosen, it became too dear


def test_the_command_prints_every_backend_and_dial(planted_checkpoint, capsys):
    data, checkpoint = planted_checkpoint
    shared = ["backends", str(checkpoint), "--data", str(data)]
    assert main([*shared, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["planted"]
    assert list(figures) == ["n", "onnx", "onnx-int8"] and figures["n"] > 0
    for dial in ("0", "3", "5"):
        assert figures["onnx"][dial]["unexplained"] == 0
        assert figures["onnx-int8"][dial]["equal"] > 0.5
    assert main([*shared, "--backends", "onnx"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[2:4] for row in rows[2:]] == [["onnx", dial] for dial in ("0", "3", "5")]


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["backends", str(tmp_path / "none")]) == 1
    assert "train: error: there is no checkpoint folder" in capsys.readouterr().err
