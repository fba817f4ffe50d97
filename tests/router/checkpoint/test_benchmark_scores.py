"""Published scores: whose are found under which name, and what of a file or an argument is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from router.checkpoint.benchmark_scores import FEWEST, LEAST, BenchmarkScores, as_logits, parse_scores
from router.errors import CheckpointError, UsageError

MODELS = [f"m{i}" for i in range(7)]
CHAT = {model: i / 10 for i, model in enumerate(MODELS)}
EXAM = {model: 1 - i / 10 for i, model in enumerate(MODELS[:FEWEST])}
SCORES = BenchmarkScores({
    ("MMLU-Pro", "chat"): CHAT,
    ("MMLU-Pro", "exam"): EXAM,
    ("MMLU-Pro", "odd"): {"m0": 0.5},
    ("gsm8k", "chat"): {"m1": 0.75},
})  # fmt: skip


@pytest.mark.parametrize("name", ["MMLU-Pro", "mmlu_pro", "mmlupro", "MMLU PRO", "Mmlu-Pro"])
def test_case_and_signs_of_a_name_do_not_count(name):
    assert SCORES.of(name, "chat", ["m3", "m0"]).tolist() == [0.3, 0.0]


def test_a_model_without_a_score_has_nan():
    found = SCORES.of("gsm8k", "chat", ["m0", "m1", "nobody"])
    assert np.isnan(found).tolist() == [True, False, True] and found[1] == 0.75


def test_the_own_protocol_comes_first_where_it_tells_enough_and_else_the_one_that_tells_most():
    assert SCORES.of("MMLU-Pro", "exam", MODELS)[:2].tolist() == [1.0, 0.9]
    assert SCORES.of("MMLU-Pro", "odd", MODELS).tolist() == list(CHAT.values())
    assert SCORES.of("MMLU-Pro", "unheard of", MODELS).tolist() == list(CHAT.values())
    few = SCORES.of("MMLU-Pro", "exam", MODELS[3:])  # of these it tells two, chat all four
    assert few.tolist() == [0.3, 0.4, 0.5, 0.6]


def test_an_unknown_benchmark_names_those_that_are_known_the_nearest_first():
    with pytest.raises(UsageError, match=r"no known model has a score on benchmark 'gsm8'; known: gsm8k, MMLU-Pro$"):
        SCORES.of("gsm8", "chat", MODELS)
    assert SCORES.names == ("MMLU-Pro", "gsm8k")
    assert BenchmarkScores().names == ()


def test_json_returns_equal_and_does_not_hang_on_the_order():
    text = SCORES.to_json()
    assert BenchmarkScores.from_json(text) == SCORES
    turned = BenchmarkScores({key: dict(reversed(scores.items())) for key, scores in reversed(SCORES.scores.items())})
    assert turned.to_json() == text
    assert len(text.splitlines()) == len(SCORES.scores) + 2  # a benchmark a line
    assert BenchmarkScores.from_json(BenchmarkScores().to_json()) == BenchmarkScores()


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "[",
        "5",
        '{"benchmark": 1}',
        "[1]",
        '[{"benchmark": "a", "protocol": "b"}]',
        '[{"benchmark": "a", "scores": {}}]',
        '[{"benchmark": "a", "protocol": "b", "scores": [1]}]',
        '[{"benchmark": "a", "protocol": "b", "scores": {"m": "1"}}]',
        '[{"benchmark": "a", "protocol": "b", "scores": {"m": 1.5}}]',
        '[{"benchmark": "a", "protocol": "b", "scores": {"m": NaN}}]',
        '[{"benchmark": "a", "protocol": "b", "scores": {"m": null}}]',
        '[{"benchmark": "a", "protocol": "b", "scores": {"m": true}}]',
    ],
)
def test_other_json_is_no_benchmark_scores_and_says_what_to_do(raw):
    with pytest.raises(CheckpointError, match=r"no benchmark scores \(.*\); delete the file, or write it again"):
        BenchmarkScores.from_json(raw)


def test_scores_that_are_not_finite_are_never_written():
    with pytest.raises(ValueError, match="Out of range float"):
        BenchmarkScores({("a", "b"): {"m": float("nan")}}).to_json()


def test_logits_of_all_and_nothing_are_finite_and_even():
    found = as_logits(np.array([0.0, LEAST, 0.25, 0.5, 0.75, 1 - LEAST, 1.0, np.nan]))
    assert found[[0, 6]].tolist() == found[[1, 5]].tolist()
    assert found[:3] == pytest.approx(-found[6:3:-1])
    assert found[4] == pytest.approx(np.log(3)) and np.isnan(found[7])


def test_scores_are_parsed_from_pairs():
    assert parse_scores([]) == {}
    assert parse_scores(["gsm8k=0.95", "MMLU-Pro=1", "a=0"]) == {"gsm8k": 0.95, "MMLU-Pro": 1.0, "a": 0.0}


@pytest.mark.parametrize("pair", ["gsm8k", "gsm8k=", "=0.5", "gsm8k=95", "gsm8k=-0.1", "gsm8k=nan", "a=b=0.5", "a=x"])
def test_other_pairs_are_refused_with_an_example(pair):
    with pytest.raises(UsageError, match=f"NAME=SCORE, from 0 to 1, such as gsm8k=0.95; got '{pair}'"):
        parse_scores(["fine=0.5", pair])


@pytest.mark.parametrize("again", ["gsm8k=0.95", "GSM-8K=0.9"])
def test_a_benchmark_is_given_once_however_it_is_spelt(again):
    with pytest.raises(UsageError, match="is given twice"):
        parse_scores(["gsm8k=0.95", again])


def test_the_file_is_json(tmp_path):
    raw = json.loads(SCORES.to_json())
    assert raw[-1] == {"benchmark": "gsm8k", "protocol": "chat", "scores": {"m1": 0.75}}
