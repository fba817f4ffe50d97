"""`python -m train reading`: what it prints and writes, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.tiny_folder import QUERIES, write_tiny_folder

from router.evaluation.dataset import read_dataset
from router.routing.router import Router
from train.__main__ import main as command
from train.studies.reading.familiarity import familiarity_figures, gaps
from train.studies.reading.texts import read

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def folder(tmp_path):
    """Sixty annotated queries of two sets over ten folds, with outcomes of the tiny checkpoint's pool `both`."""
    ids = write_tiny_folder(tmp_path, ("exam", "act-as", "act-as"))
    notes = [
        {"query_id": q, "capabilities": ["coding"], "knowledge": ["Law"], "difficulty": i % 5 + 1}
        for i, q in enumerate(ids)
    ]
    (tmp_path / "annotations.jsonl").write_text("\n".join(map(json.dumps, notes)))
    return tmp_path


@pytest.fixture
def run(folder, tiny_router, tmp_path, capsys):
    """Runs the command on the tiny checkpoint; gives exit code, table, report and the last line of stderr."""

    def run(*more):
        output = tmp_path / "report.json"
        where = ["--data", str(folder), "--pools", "both", "--output", str(output)]
        code = command(["reading", str(tiny_router), *where, *more])
        out, err = capsys.readouterr()
        report = json.loads(output.read_text()) if output.exists() else None
        return code, out.splitlines(), report, err.strip().split("\n")[-1]

    return run


def test_all_parts_are_measured_shown_and_written(run, monkeypatch):
    monkeypatch.setattr("train.studies.reading.long_inputs.MOST_WORDS", 2_100)
    monkeypatch.setattr("train.studies.reading.command.LONG", 3)
    code, table, report, last = run("--left-out", "exam")
    assert code == 0 and last == "measuring familiarity ..."
    assert {each["part"] for each in report["figures"]} == {
        "labels", "labels, left out", "unchanged", "tails", "translations", "long inputs", "everyday prompts",
        "familiarity",
    }  # fmt: skip
    assert report["folds"] == [8, 9] and table[0].startswith("| part | what |")
    assert len(table) == 2 + len({(each["part"], each["name"]) for each in report["figures"]})
    by_name = {(each["part"], each["name"]): each for each in report["figures"]}
    assert by_name["labels", "first capability, all"]["n"] == 8  # of the other set, in folds 8 and 9
    assert by_name["labels, left out", "first capability, all"]["n"] == 20  # in all folds


def test_rotated_checkpoints_add_their_rows(run, tiny_router):
    rows = [
        run("--parts", "labels", *more)[2]["figures"][0]["n"] for more in ((), ("--rotate", str(tiny_router), "0,1"))
    ]
    assert rows == [12, 24]


def test_without_sets_left_out_familiarity_says_what_to_name(run):
    (figure,) = run("--parts", "familiarity")[2]["figures"]
    assert figure["value"] is None and "--left-out" in figure["note"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--pools", "bth"), "unknown pool 'bth'"),
        (("--left-out", "exams"), "--left-out: the data has no set 'exams'"),
        (("--queries", "0"), "--queries must be at least 1, got 0"),
    ],
)
def test_a_users_mistake_is_one_line(run, more, message):
    code, table, report, error = run(*more)
    assert (code, table, report) == (1, [], None)
    assert error.startswith("train: error: ") and message in error


@pytest.mark.parametrize("dials", ["8-1", "1-10", "x"])
def test_dials_that_are_none_are_a_usage_error(run, dials, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--dials", dials)
    assert stopped.value.code == 2 and f"got '{dials}'" in capsys.readouterr().err


def test_quintiles_go_from_the_least_familiar_to_the_most():
    familiarity = np.random.default_rng(0).permutation(100)
    got = np.full(100, 0.5)
    found = gaps(familiarity / 100.0, got + (100 - familiarity) / 1000, got)
    assert (np.diff(found) < 0).all() and found[-1] == pytest.approx(0.0105)


def test_familiar_rows_are_told_from_left_out_ones(folder, tiny_router, monkeypatch):
    router, dataset = Router.from_pretrained(tiny_router, backend="torch"), read_dataset(folder)

    def read_in_order(router, texts):
        made = read(router, texts)
        vectors = SimpleNamespace(familiarity=1 / np.arange(1.0, len(texts) + 1))
        return SimpleNamespace(vectors=vectors, in_pool=made.in_pool)

    monkeypatch.setattr("train.studies.reading.familiarity.read", read_in_order)
    rows = np.arange(QUERIES)
    auroc, steps = familiarity_figures(router, dataset, rows[30:], rows[:30], [router.pool("both")])
    assert auroc.value == 1 and auroc.verdict == "holds" and auroc.n == steps.n == QUERIES
    assert steps.note.startswith("gaps ") and 0 <= steps.value <= 4
