"""Files of graded answers: what is read, and that one bad line is enough to refuse them all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.errors import DataError
from router.onboarding.graded_answers import make_answers, read_answers

GOOD = '{"query": "2+2?", "score": 1, "output_tokens": 12}'


def write(folder: Path, *lines: str) -> Path:
    file = folder / "answers.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_queries_scores_and_lengths_are_read_in_order(tmp_path):
    found = read_answers(write(tmp_path, GOOD, '{"query": "who?", "score": 0.25}', '{"query": "a", "score": 0}'))
    assert found.queries == ("2+2?", "who?", "a")
    assert found.score.tolist() == [1.0, 0.25, 0.0]
    assert found.output_tokens[0] == 12 and np.isnan(found.output_tokens[1:]).all()


def test_the_query_may_be_called_text_and_other_keys_are_passed_over(tmp_path):
    found = read_answers(write(tmp_path, '{"id": 7, "text": "who?", "score": 1, "output_tokens": null, "by": "me"}'))
    assert (found.queries, found.score.tolist()) == (("who?",), [1.0])
    assert np.isnan(found.output_tokens).all()
    both = read_answers(write(tmp_path, '{"text": "other", "query": "this", "score": 1}'))
    assert both.queries == ("this",)


def test_a_byte_order_mark_and_blank_lines_are_no_answers(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n  \n" + '{"query": "é", "score": 0}'.encode())
    assert read_answers(file).queries == ("2+2?", "é")


BAD = {
    "no json": "not JSON",
    '{"query": "a", "score": 1': "not JSON",
    "[1, 2]": "a JSON list, not an object",
    '"text"': "a JSON str, not an object",
    "null": "a JSON NoneType, not an object",
    '{"score": 1}': "query must be text that is not blank, got None",
    '{"query": "", "score": 1}': "query must be text that is not blank, got ''",
    r'{"query": " \n", "score": 1}': "query must be text that is not blank",
    '{"query": 5, "score": 1}': "query must be text that is not blank, got 5",
    '{"query": null, "text": "b", "score": 1}': "query must be text that is not blank, got None",
    '{"query": "a"}': "score must be a number from 0 to 1, got None",
    '{"query": "a", "score": null}': "score must be a number from 0 to 1, got None",
    '{"query": "a", "score": true}': "score must be a number from 0 to 1, got True",
    '{"query": "a", "score": "1"}': "score must be a number from 0 to 1, got '1'",
    '{"query": "a", "score": 1.5}': "score must be a number from 0 to 1, got 1.5",
    '{"query": "a", "score": -0.1}': "score must be a number from 0 to 1, got -0.1",
    '{"query": "a", "score": NaN}': "score must be a number from 0 to 1, got nan",
    '{"query": "a", "score": Infinity}': "score must be a number from 0 to 1, got inf",
    '{"query": "a", "score": [1]}': "score must be a number from 0 to 1, got [1]",
    '{"query": "a", "score": 1, "output_tokens": -3}': "output_tokens must be a number from 0 to 10000000",
    '{"query": "a", "score": 1, "output_tokens": "9"}': "output_tokens must be a number from 0 to 10000000",
    '{"query": "a", "score": 1, "output_tokens": true}': "output_tokens must be a number from 0 to 10000000",
    '{"query": "a", "score": 1, "output_tokens": NaN}': "output_tokens must be a number from 0 to 10000000",
    '{"query": "a", "score": 1, "output_tokens": 1e999}': "output_tokens must be a number from 0 to 10000000",
    "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize(("line", "problem"), BAD.items(), ids=lambda text: text[:45])
def test_a_bad_line_is_named_with_its_number_and_nothing_is_returned(tmp_path, line, problem):
    with pytest.raises(DataError) as caught:
        read_answers(write(tmp_path, GOOD, "", line, GOOD))
    first, second = str(caught.value).splitlines()
    assert first.endswith("answers.jsonl: nothing was fitted, since some answers are not usable:")
    assert second.startswith(f"  line 3: {problem}") and len(second) < 250


@pytest.mark.parametrize("key", ["score", "output_tokens"])
def test_a_number_too_large_for_a_float_is_a_bad_line_too(tmp_path, key):
    line = json.dumps({"query": "a", "score": 1} | {key: 10**400})
    with pytest.raises(DataError, match=f"line 1: {key} must be a number"):
        read_answers(write(tmp_path, line))


def test_a_query_that_no_encoder_can_read_is_a_bad_line_too(tmp_path):
    with pytest.raises(DataError, match="line 2: "):
        read_answers(write(tmp_path, GOOD, r'{"query": "broken \ud800", "score": 1}'))


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\u2029"])
def test_a_line_ends_where_json_lines_do_and_not_at_a_separator_inside_a_query(tmp_path, separator):
    query = f"one{separator}two"
    line = json.dumps({"query": query, "score": 1}, ensure_ascii=False)
    assert read_answers(write(tmp_path, line, GOOD)).queries == (query, "2+2?")


def test_all_bad_lines_are_listed_and_beyond_ten_counted(tmp_path):
    with pytest.raises(DataError) as caught:
        read_answers(write(tmp_path, *["bad"] * 10, GOOD))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [f"  line {n}" for n in range(1, 11)]
    with pytest.raises(DataError) as caught:
        read_answers(write(tmp_path, *["bad"] * 6, GOOD, *["bad"] * 7))
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and lines[10].startswith("  line 11: ") and lines[11] == "  and 3 more"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_an_answer_says_what_one_looks_like(tmp_path, content):
    (tmp_path / "answers.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r'holds no answer; write one per line, such as \{"query": "2\+2\?", "score"'):
        read_answers(tmp_path / "answers.jsonl")


def test_a_file_that_is_missing_a_folder_or_no_text_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes(b'{"query": "caf\xe9", "score": 1}')
    for name in ("nowhere.jsonl", ".", "latin"):
        with pytest.raises(DataError, match="cannot read the answers in"):
            read_answers(tmp_path / name)


# From lists


def test_lists_make_answers_and_without_tokens_lengths_are_unknown():
    found = make_answers(["a", "b"], [1, 0.5])
    assert found.queries == ("a", "b") and found.score.tolist() == [1.0, 0.5]
    assert np.isnan(found.output_tokens).all()
    assert make_answers(["a"], [0], [7]).output_tokens.tolist() == [7.0]


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="of one length, got 2 queries, 1 scores and 2 token counts"):
        make_answers(["a", "b"], [1])
    with pytest.raises(DataError, match="got 1 queries, 1 scores and 2 token counts"):
        make_answers(["a"], [1], [1, 2])


@pytest.mark.parametrize("score", [1.5, -0.5, float("nan")])
def test_a_score_outside_of_0_to_1_is_refused(score):
    with pytest.raises(DataError, match=r"every score of an answer must lie in \[0, 1\]"):
        make_answers(["a", "b"], [1, score])


@pytest.mark.parametrize("tokens", [-1.0, float("inf")])
def test_a_length_that_no_answer_has_is_refused(tokens):
    with pytest.raises(DataError, match="tokens"):
        make_answers(["a"], [1], [tokens])
