"""`router route`: what goes to stdout and stderr, and with which exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fixtures.fake_router import INPUT, Session, Terminal

from router.cli import route as route_command
from router.options import DEFAULT_DIAL


@pytest.fixture
def route(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path, capsys, monkeypatch, "route")


def test_a_query_prints_a_readable_decision_on_stdout_only(route: Session) -> None:
    code, out, err = route("one")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "model    small",
        "quality  0.750  predicted probability of a good answer",
        "cost     $0.000120  expected, of this query",
        f"pool     trio, dial {DEFAULT_DIAL:g}",
        "needs    coding 0.60, reasoning 0.30",
        "domains  Algebra 0.90",
        "level    2.2  easy, of 1 to 5; familiarity 0.75",
        "",
        "#  model  quality      cost  utility",
        "1  small    0.750        $0      0.5",
        "2  big      0.500  $0.00120      0.5",
    ]


def test_explain_adds_the_reasons(route: Session) -> None:
    _, out, _ = route("one", "--explain")
    assert "why\n  ahead of big by +0.1000 utility: quality +0.2000, cost -0.1000\n" in out


def test_json_prints_one_object_with_the_schema_version(route: Session) -> None:
    code, out, err = route("one", "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    decision = json.loads(out)
    assert decision["schema_version"] == 1
    assert decision["model"] == "small"
    assert decision["reasons"]["runner_up"] == "big"


def test_every_flag_reaches_the_router(route: Session) -> None:
    route(
        "one", "--pool", "solo", "--dial", "7", "--allow", "a*, b", "--allow", "c", "--deny", "d", "--tools",
        "--images", "--context-tokens", "900", "--max-price", "2.5", "--top", "2", "--guard", "--attitude",
        "pessimistic",
    )  # fmt: skip
    pool = route.router.pools["solo"]
    assert route.router.routed == [("one", 7.0)]
    assert route.router.options == {
        "pool": pool, "allow": ["a*", "b", "c"], "deny": ["d"], "tools": True, "images": True, "context_tokens": 900,
        "max_price_usd_per_mtok": 2.5, "top": 2, "guard": True, "attitude": "pessimistic",
    }  # fmt: skip


def test_a_budget_for_one_query_says_which_dial_it_took_and_what_that_gave_on_validation(route: Session) -> None:
    code, out, err = route("one", "--budget", "0.5")
    assert code == 0
    assert "pool     trio, dial 6.5\ngoal     at most $0.5 per 1,000 queries, met on validation\n" in out
    expected = "dial 6.5: on validation $0.11 per 1,000 queries and quality 0.750 predicted, 0.740 scored"
    assert err == f"router: {expected}\n"


def test_piped_lines_take_validations_dial_for_a_goal(route: Session) -> None:
    code, out, err = route("--quality-at-least", "0.7", stdin=b"one\ntwo\n")
    assert code == 0 and "router: dial 6.5: on validation" in err
    assert [json.loads(line)["goal"]["met_on"] for line in out.splitlines()] == ["validation"] * 2


def test_lines_of_a_file_meet_a_goal_together_in_portions(route: Session) -> None:
    route.monkeypatch.setattr(route_command, "TOGETHER", 3)
    (route.folder / "in.txt").write_bytes(b"one\ntwo\nthree\nfour\n")
    code, out, err = route("--input", "in.txt", "--budget", "0.2")
    assert (code, err) == (0, "router: 4 lines routed\n")
    assert route.router.goals == [("at most $0.2 per 1,000 queries", "batch", n) for n in (3, 1)]
    assert {json.loads(line)["dial"] for line in out.splitlines()} == {5.0}


def test_a_budget_that_a_file_cannot_keep_is_one_error(route: Session) -> None:
    (route.folder / "in.txt").write_bytes(b"one\ntwo\n")
    code, out, err = route("--input", "in.txt", "--budget", "0.1")
    assert (code, out) == (2, "")
    assert err == "router: error: lines 1 to 2: the least possible here is 0.12\n"


def test_a_run_with_a_goal_resumes_at_a_whole_portion(route: Session) -> None:
    route.monkeypatch.setattr(route_command, "TOGETHER", 3)
    (route.folder / "in.txt").write_bytes(b"".join(b"%d\n" % i for i in range(7)))
    argv = ("--input", "in.txt", "--output", "out.jsonl", "--budget", "0.2")
    route.router.stop_after = 3
    assert route(*argv)[0] == 130
    partial = route.folder / "out.jsonl.partial"
    records = partial.read_bytes()
    assert records.count(b"\n") == 3
    partial.write_bytes(records + b'{"line": 4}\n{"line": 5}\n')  # a portion that a kill has cut
    route.router.stop_after, route.router.goals = None, []
    assert "budget_usd_per_1k was 0.2, now 0.3" in route(*argv[:-1], "0.3", "--resume")[2]
    code, _, err = route(*argv, "--resume")
    assert code == 0 and "resuming after 3 finished lines" in err
    assert [record["line"] for record in route.records()] == list(range(1, 8))
    assert [n for *_, n in route.router.goals] == [3, 1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("one", "--budget", "1", "--dial", "3"), "not allowed with argument"),
        (("one", "--budget", "1", "--quality-at-least", "0.5"), "not allowed with argument"),
        (("one", "--budget", "-1"), "got '-1', allowed is a number of at least 0"),
        (("one", "--quality-at-least", "70"), "got '70', allowed is a number from 0 to 1"),
    ],
)
def test_one_of_dial_budget_and_quality_is_given_and_within_bounds(
    route: Session, argv: tuple[str, ...], message: str
) -> None:
    code, _, err = route(*argv)
    assert code == 2 and message in err


def test_an_error_is_one_line_on_stderr(route: Session) -> None:
    code, out, err = route(" ")
    assert (code, out, err) == (1, "", "router: error: the query is empty\n")
    code, out, err = route("one", "--pool", "tri")
    assert (code, out, err) == (1, "", "router: error: unknown pool 'tri'; known: trio, solo\n")


def test_verbose_adds_the_traceback(route: Session) -> None:
    _, _, err = route(" ", "-v")
    assert "Traceback" in err
    assert err.endswith("router: error: the query is empty\n")


@pytest.mark.parametrize("argv", [(), ("-",)])
def test_piped_lines_give_json_lines(route: Session, argv: tuple[str, ...]) -> None:
    code, out, err = route(*argv, stdin=b"one\na rather long query, number two\n")
    assert (code, err) == (0, "router: 2 lines routed\n")
    assert [(r["line"], r["model"]) for r in map(json.loads, out.splitlines())] == [(1, "small"), (2, "big")]


def test_a_query_given_wins_over_a_pipe(route: Session) -> None:
    assert route("one", stdin=b"two\n")[0] == 0
    assert route.router.routed == [("one", 3.0)]


def test_format_makes_stdin_json_lines(route: Session) -> None:
    code, out, _ = route("--format", "jsonl", "-q", stdin=b'{"query": "q", "id": 5}\n')
    assert code == 0
    assert json.loads(out)["id"] == 5


def test_a_file_of_text_lines_goes_to_stdout(route: Session) -> None:
    (route.folder / "in.txt").write_bytes(b"one\ntwo")
    code, out, err = route("--input", "in.txt", "--quiet")
    assert (code, out.count("\n"), err) == (0, 2, "")


def test_bad_lines_give_records_in_place_one_summary_line_and_exit_code_3(route: Session) -> None:
    code, out, err = route("--input", "in.jsonl", "--batch-size", "2")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [record["line"] for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert ["error" in record for record in records] == [False, False, True, False, True, False, False]
    assert err == "router: 2 of 7 lines failed, see the records with the key error; the others are routed\n"
    assert route.router.routed[2] == ("four", 7.5)


def test_the_summary_of_failures_is_said_even_when_quiet(route: Session) -> None:
    assert "2 of 7 lines failed" in route("--input", "in.jsonl", "-q")[2]


def test_constraints_that_leave_nobody_are_one_error_not_one_per_line(route: Session) -> None:
    code, out, err = route("--input", "in.jsonl", "--output", "out.jsonl", "--allow", "nobody")
    assert (code, out) == (1, "")
    assert err.startswith("router: error: no model is left")
    assert route.names() == {"in.jsonl"}


def test_output_goes_to_the_file_and_nothing_to_stdout(route: Session) -> None:
    code, out, err = route("--input", "in.jsonl", "--output", "out.jsonl")
    assert (code, out) == (3, "")
    assert err.startswith("router: 2 of 7 lines failed") and "in out.jsonl" in err
    assert [record["line"] for record in route.records()] == [1, 2, 3, 4, 5, 6, 7]
    assert route.names() == {"in.jsonl", "out.jsonl"}


def test_an_empty_input_gives_an_empty_output(route: Session) -> None:
    (route.folder / "in.txt").touch()
    assert route("--input", "in.txt", "--output", "out.jsonl")[0] == 0
    assert route.records() == []


@pytest.mark.parametrize("before", ["out.jsonl", "out.jsonl.partial"])
def test_what_is_there_is_kept_and_the_message_says_what_to_do(route: Session, before: str) -> None:
    (route.folder / before).write_bytes(b"precious")
    code, _, err = route("--input", "in.jsonl", "--output", "out.jsonl")
    assert code == 2
    assert "--force" in err and (("--resume" in err) == (before != "out.jsonl"))
    assert (route.folder / before).read_bytes() == b"precious"
    assert route("--input", "in.jsonl", "--output", "out.jsonl", "--force")[0] == 3
    assert route.names() == {"in.jsonl", "out.jsonl"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "nothing to route: give a query"),
        (("one", "--input", "in.jsonl"), "not both"),
        (("--input", "nowhere.txt"), "no such file"),
        (("--input", "."), "not a regular file"),
        (("--input", "in.csv"), "neither in .txt"),
        (("one", "--output", "o"), "go with --input FILE"),
        (("--input", "in.jsonl", "--resume"), "name it"),
        (("-", "--output", "o", "--resume"), "cannot be read again"),
        (("--input", "in.jsonl", "--output", "in.jsonl", "--force"), "would overwrite the input"),
        (("--input", "in.jsonl", "--output", "-"), "leave --output out"),
        (("--input", "in.jsonl", "--output", "no/folder"), "there is no folder no"),
        (("one", "--device", "abacus"), "--device abacus cannot be used"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_nothing_is_routed(route: Session, argv: tuple[str, ...], message: str) -> None:
    (route.folder / "in.csv").touch()
    code, out, err = route(*argv, stdin=b"" if "-" in argv else None)
    assert (code, out) == (2, "")
    assert err.startswith("router: error: ") and message in err
    assert route.router.routed == []
    assert (route.folder / "in.jsonl").read_bytes() == INPUT


def test_the_input_is_not_overwritten_by_the_partial_either(route: Session) -> None:
    (route.folder / "out.partial").write_bytes(INPUT)
    code, _, err = route("--input", "out.partial", "--format", "jsonl", "--output", "out", "--force")
    assert code == 2
    assert "would overwrite the input" in err


def test_a_progress_bar_is_shown_on_a_terminal_only(route: Session) -> None:
    screen = Terminal()
    route.monkeypatch.setattr(sys, "stderr", screen)
    code, out, _ = route("--input", "in.jsonl")
    assert (code, out.count("\n")) == (3, 7)
    assert "routing" in screen.getvalue() and "100%" in screen.getvalue()
    quiet = Terminal()
    route.monkeypatch.setattr(sys, "stderr", quiet)
    route("--input", "in.jsonl", "-q")
    assert "%" not in quiet.getvalue()


def test_a_binary_input_is_one_error_and_nothing_is_routed(route: Session) -> None:
    (route.folder / "in.txt").write_bytes(b"\x7fELF\x02\x00\x00")
    line = "in.txt is no text in UTF-8 (byte 5 is zero): give lines of text or JSON objects"
    assert route("--input", "in.txt") == (2, "", f"router: error: {line}\n")
    assert not route.router.routed
