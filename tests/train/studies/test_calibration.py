"""`python -m train calibration`: what each method mends, on planted miscalibration, and once as a command."""

import json
import warnings

import numpy as np
import pytest

from train.__main__ import main
from train.studies.calibration import METHODS, calibrated, draw, figures, reliability, study
from train.studies.held_out import HeldOut


def miscalibrated(queries, seed, truth):
    """Two models whose probability of a good answer is `truth(logits)`, not their sigmoid."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0.5, 1.5, (queries, 2))
    score = (generator.uniform(size=logits.shape) < truth(logits)).astype(float)
    cost = np.broadcast_to([0.001, 0.002], logits.shape)
    return HeldOut(logits, cost, score, cost, best_single=1, cheapest=0)


def too_sure(logits):
    return 1 / (1 + np.exp(-(0.4 * logits - 0.3)))


def a_step(logits):
    return np.where(logits > 1, 0.9, 0.3)


@pytest.mark.parametrize(("truth", "best"), [(too_sure, "affine"), (a_step, "isotonic")])
def test_the_fitting_method_mends_what_it_can_express(truth, best):
    fit, judged = (miscalibrated(3000, seed, truth) for seed in (0, 1))
    found = {method: figures(calibrated(method, fit, judged), judged) for method in METHODS}
    for cells in ("chosen", "all_cells"):
        assert found[best][cells]["ece"] < 0.05 < found["as it is"][cells]["ece"]
        assert found[best][cells]["brier"] == min(each[cells]["brier"] for each in found.values())
        assert found[best][cells]["brier"] < found[best][cells]["brier_constant"]


def test_a_map_of_each_kind_is_monotone_in_the_logit():
    fit, judged = (miscalibrated(500, seed, a_step) for seed in (2, 3))
    for method in METHODS:
        quality = calibrated(method, fit, judged)
        assert ((quality >= 0) & (quality <= 1)).all()
        for column in range(2):
            assert (np.diff(quality[np.argsort(judged.logits[:, column]), column]) >= 0).all()


def test_groups_of_a_reliability_diagram_are_equally_many():
    predicted = np.linspace(0, 1, 1000)
    mean, observed, error = reliability(predicted, (predicted > 0.5).astype(float))
    assert mean == pytest.approx(np.arange(0.05, 1, 0.1), abs=0.01)
    assert observed.tolist() == [0.0] * 5 + [1.0] * 5
    assert error.tolist() == [0.0] * 10


def test_a_diagram_has_a_panel_for_each_title_and_is_written_as_png(tmp_path):
    pair = np.linspace(0, 1, 50), np.ones(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = draw({"one": {"as it is": pair}, "two": {"as it is": pair, "affine": pair}}, tmp_path / "a" / "x.png")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_study_holds_every_method(tmp_path):
    fit, judged = (miscalibrated(200, seed, too_sure) for seed in (4, 5))
    report = study("pair", fit, judged, tmp_path)
    assert (report["n_fit"], report["n"]) == (200, 200) and set(METHODS) <= set(report)
    assert (tmp_path / "reliability-pair.png").stat().st_size > 5000


def test_the_command_prints_figures_by_pool(planted_checkpoint, tmp_path, capsys):
    data, checkpoint = planted_checkpoint
    where = ["calibration", str(checkpoint), "--data", str(data), "--cache", str(tmp_path), "--out", str(tmp_path)]
    assert main(where) == 0
    report = json.loads(capsys.readouterr().out)["planted"]
    assert report["isotonic"]["all_cells"]["brier"] < report["as it is"]["all_cells"]["brier"]
    assert (tmp_path / "reliability-planted.png").exists()
    assert main([*where, "--fit-folds", "8"]) == 1
    assert capsys.readouterr().err == "train: error: folds [8] choose and folds [8, 9] judge: no fold may do both\n"
