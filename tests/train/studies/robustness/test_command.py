"""`python -m train robustness`: what it prints, and which queries it looks at."""

import json

import pytest
from fixtures.tiny_folder import write_tiny_folder

from router.errors import DataError
from router.evaluation.dataset import read_dataset
from router.routing.router import Router
from train.__main__ import main as command
from train.studies.robustness.flips import draw_sample

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def folder(tmp_path):
    """Sixty queries over ten folds with outcomes of both members of the tiny checkpoint's pool `both`."""
    write_tiny_folder(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, tiny_router, capsys):
    """Runs the command on the tiny checkpoint; gives exit code, parsed output and the last line of stderr."""

    def run(*more):
        code = command(["robustness", str(tiny_router), "--data", str(folder), "--pools", "both", *more])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err.strip().split("\n")[-1]

    return run


SMALL = ("--steps", "2", "--tokens", "3", "--batch", "2", "--proposals", "2", "--attacked", "5")


def test_the_suite_prints_flips_guard_and_gadgets_of_each_pool(run):
    code, figures, _ = run("--folds", "8,9", *SMALL)
    assert code == 0 and figures["folds"] == [8, 9]
    both = figures["pools"]["both"]
    assert both["flips"]["n"] == both["guard"]["n"] == 12
    assert both["guard"]["wrongly_flagged"] == 0
    assert set(both["gadgets"]) == {"dearest", "cost"}
    assert both["gadgets"]["cost"]["n"] == 5 and both["gadgets"]["cost"]["dial"] == both["flips"]["dial"]
    assert set(both["seconds"]) == {"flips", "guard", "gadgets"}


def test_the_same_seed_prints_the_same_figures_and_no_steps_means_no_gadget(run):
    first, again = (run("--steps", "0", "--queries", "8")[1]["pools"]["both"] for _ in range(2))
    assert first.pop("seconds") and again.pop("seconds")
    assert first == again
    assert first["gadgets"] == {} and first["flips"]["n"] == 8


def test_a_dial_given_is_the_dial_used(run):
    both = run("--dial", "7", "--steps", "2", *SMALL[2:], "--aims", "cost")[1]["pools"]["both"]
    assert both["flips"]["dial"] == both["gadgets"]["cost"]["dial"] == 7
    assert list(both["gadgets"]) == ["cost"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--pools", "bth"), "unknown pool 'bth'"),
        (("--tokens", "21"), "gadget tokens must lie in 1 to 20"),
        (("--queries", "0"), "--queries and --attacked must be at least 1, got 0 and 100"),
        (("--dial", "11"), "dial must lie in 0"),
    ],
)
def test_a_users_mistake_is_one_line(run, more, message):
    code, figures, error = run(*more)
    assert (code, figures) == (1, None)
    assert error.startswith("train: error: ") and message in error


@pytest.mark.parametrize("folds", ["8,x", "11"])
def test_folds_that_are_none_are_a_usage_error(run, folds, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--folds", folds)
    assert stopped.value.code == 2
    assert f"got '{folds}', allowed are whole numbers from 0 to 9" in capsys.readouterr().err


def test_the_attacker_never_sees_a_judged_query_and_draws_depend_on_the_seed(folder, tiny_router):
    dataset, pool = read_dataset(folder), Router.from_pretrained(tiny_router).pool("both")
    fold = dict(zip(dataset.queries["text"], dataset.queries["fold"], strict=True))
    sample = draw_sample(dataset, pool, [8, 9], 10, 0)
    assert {fold[text] for text in sample.texts} == {8, 9} and {fold[text] for text in sample.attacker} <= set(range(7))
    assert len(sample.texts) == len(sample.outcomes.rows) == len(sample.attacker) == 10
    assert dataset.queries["text"][sample.outcomes.rows].tolist() == sample.texts
    assert draw_sample(dataset, pool, [8, 9], 10, 0).texts == sample.texts
    assert draw_sample(dataset, pool, [8, 9], 10, 1).texts != sample.texts
    few = sample.head(3)
    assert few.texts == sample.texts[:3] and (few.outcomes.score == sample.outcomes.score[:3]).all()


def test_folds_without_a_query_of_the_pool_are_named(folder, tiny_router):
    dataset, pool = read_dataset(folder), Router.from_pretrained(tiny_router).pool("both")
    kept = dataset.queries["fold"] != 9
    dataset.score[~kept.to_numpy()] = float("nan")
    with pytest.raises(DataError, match=r"no query of folds \[9\] has a score of every member of pool 'both'"):
        draw_sample(dataset, pool, [9], 10, 0)
