"""Labels are compared by the rules of the issue: multilingual apart, the domain's own name, sets and languages."""

import numpy as np
import pandas as pd
import pytest

from router.evaluation.dataset import Annotation
from router.routing.router import Router
from train.studies.reading.labels import EVERYDAY, difficulty_within_sets, groups, label_figures, label_rows

N = 200


@pytest.fixture
def frame():
    """Two sets of a hundred: uncommonroute in two languages, perfectly read, and an exam, read at random."""
    generator = np.random.default_rng(0)
    label = np.tile(np.arange(1, 6), N // 5)
    tagged = np.arange(N) < N // 2
    language = np.where(np.arange(N) % 2, "chat en", "chat de")
    return pd.DataFrame(
        {
            "benchmark": np.where(tagged, "uncommonroute", "exam"),
            "category": np.where(tagged, language, "exam"),
            "first": "coding",
            "capability": np.where(tagged, "coding", "writing"),
            "multilingual": tagged & (language == "chat de"),
            "multilingual_found": tagged,
            "domain": tagged,
            "difficulty": label.astype(float),
            "level": np.where(tagged, label / 10, generator.permutation(label)),
        }
    )


def values(figures):
    return {figure.name: figure for figure in figures}


def test_groups_are_those_of_the_sets_and_languages(frame):
    sizes = {name: len(rows) for name, rows in groups(frame).items()}
    assert sizes == {"all": N, "everyday": 100, "English everyday": 50, "non-English uncommonroute": 50}
    assert "exam" not in EVERYDAY and "uncommonroute" in EVERYDAY


def test_each_label_is_judged_on_the_rows_that_have_it(frame):
    frame.loc[0, "first"], frame.loc[2, "difficulty"] = None, np.nan
    found = values(label_figures(frame))
    assert found["first capability, all"].value == 99 / 199 and found["first capability, everyday"].value == 1
    assert found["difficulty, everyday"].value == pytest.approx(1) and found["difficulty, everyday"].n == 99
    assert found["first domain, all"].value == 0.5
    assert found["multilingual, F1"].value == pytest.approx(2 / 3)
    assert found["difficulty, all"].verdict == "falls short" and found["difficulty, everyday"].verdict == "holds"


def test_languages_need_thirty_rows_and_japanese_has_no_bar(frame):
    frame.loc[:19, "category"] = "chat fr"
    found = values(label_figures(frame))
    assert "difficulty, fr" not in found and found["difficulty, de"].bar == 0.6
    frame["category"] = frame["category"].replace("chat de", "chat ja")
    assert values(label_figures(frame))["difficulty, ja"].bar is None


def test_the_mean_over_sets_leaves_out_small_and_uniform_ones(frame):
    figure = difficulty_within_sets(frame, "labels", True)
    exam = frame[frame["benchmark"] == "exam"]
    assert figure.note == "2 sets: exam, uncommonroute"
    assert figure.value == pytest.approx((1 + exam["level"].corr(exam["difficulty"], method="spearman")) / 2)
    small = pd.concat([frame.assign(benchmark="one", difficulty=3.0), frame[:50].assign(benchmark="two"), frame])
    assert difficulty_within_sets(small.reset_index(drop=True), "labels", False).note == figure.note


def test_rows_without_bars_are_not_judged(frame):
    assert {figure.verdict for figure in label_figures(frame, "apart", bars=False)} == {""}


def test_the_rows_of_a_router_are_its_annotated_ones(tiny_checkpoint):
    router = Router(tiny_checkpoint)
    texts = [f"prove that two is a prime {i}" for i in range(4)]
    notes = (
        Annotation("q0", ("multilingual", "coding"), ("Law",), "llm-a"),
        Annotation("q1", ("multilingual",), ("other",), "llm-a"),
        Annotation("q3", ("coding",), ("Law",), "llm-b"),
    )
    names = {"query_id": [f"q{i}" for i in range(4)], "benchmark": "x", "category": "y", "text": texts}

    class Folder:
        queries, annotations = pd.DataFrame(names), notes

    rows = label_rows(router, Folder, [0, 1, 2, 3])
    assert rows["first"].fillna("").tolist() == ["coding", ""] and rows["multilingual"].tolist() == [True, True]
    assert not rows["domain"][1] and rows["level"].dtype.kind == rows["difficulty"].dtype.kind == "f"
    decided = router.route(texts[:2])
    assert rows["multilingual_found"].tolist() == ["multilingual" in each.capabilities for each in decided]
    expected = [next(name for name in each.capabilities if name != "multilingual") for each in decided]
    assert rows["capability"].tolist() == expected
