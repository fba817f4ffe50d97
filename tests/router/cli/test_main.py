"""The command line as a whole: parsing, exit codes, what is imported, where things are printed."""

from __future__ import annotations

import argparse
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.fake_router import Session

import router
from router.cli.main import build_parser, main
from router.errors import CheckpointError, UsageError
from router.options import DEFAULT_DIAL

REPOSITORY = Path(__file__).parents[3]
COMMANDS = ("route", "pools", "show", "evaluate")


@pytest.fixture
def session(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path, capsys, monkeypatch)


def test_version_is_that_of_the_package(session: Session) -> None:
    assert session("--version") == (0, f"router {router.__version__}\n", "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_goes_to_stdout_and_tells_the_exit_codes(session: Session, command: str) -> None:
    code, out, err = session(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert "exit codes: 0 done" in out


def test_help_states_the_defaults_that_the_code_has(session: Session) -> None:
    text = " ".join(session("route", "--help")[1].split())
    assert f"10: least predicted cost (default: {DEFAULT_DIAL:g})" in text


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    code = "import sys; from router.cli.main import main; main(['route', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"torch", "numpy", "pandas", "transformers", "huggingface_hub", "yaml", "tqdm"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("-v",), "required: COMMAND"),
        (("rout",), "invalid choice: 'rout'"),
        (("route", "q", "--dial", "11"), "got '11', allowed is a number from 0 to 10"),
        (("route", "q", "--dial", "nan"), "got 'nan'"),
        (("route", "q", "--dial", "cheap"), "got 'cheap'"),
        (("route", "q", "--top", "0"), "got '0', allowed is a whole number of at least 1"),
        (("route", "q", "--batch-size", "1.5"), "got '1.5', allowed is a whole number"),
        (("route", "q", "--context-tokens", "-1"), "got '-1'"),
        (("route", "q", "--index", "hnsw"), "--index: hnsw was removed, since ivf is as fast, "),
        (("route", "q", "--max-price", "free"), "got 'free', allowed is a number of at least 0"),
        (("route", "q", "--allow", " ,"), "allowed are names or wildcards"),
        (("route", "q", "--expl"), "there is no flag --expl: did you mean --explain?"),
        (("show", "big", "small"), "unrecognized arguments: small"),
        (("route", "q", "-v", "-q"), "not allowed with argument"),
        (("show",), "required: MODEL"),
        (("evaluate",), "one of the arguments --split --folds is required"),
        (("evaluate", "--folds", "8,10"), "allowed are whole numbers from 0 to 9"),
        (("evaluate", "--folds", "8", "--split", "test"), "not allowed with argument"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_the_reason_on_stderr(
    session: Session, argv: tuple[str, ...], message: str
) -> None:
    code, out, err = session(*argv)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_a_wrong_value_is_one_line_that_names_the_command_and_its_help(session: Session) -> None:
    line = "argument --dial: got '11', allowed is a number from 0 to 10; see router route --help\n"
    assert session("route", "q", "--dial", "11") == (2, "", f"router route: error: {line}")


def test_without_arguments_three_things_to_try_are_shown_that_are_commands(session: Session) -> None:
    code, out, err = session()
    assert (code, out) == (2, "")
    lines = [line.strip().partition("   ")[0] for line in err.splitlines() if line.startswith("  router ")]
    assert len(lines) == 3 and len(err.splitlines()) < 10
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


@pytest.mark.parametrize("parser", [pytest.param(each, id=each.prog) for each in parsers(build_parser())])
def test_every_help_ends_with_examples_that_the_parser_takes(parser: argparse.ArgumentParser) -> None:
    examples = parser.format_help().partition("\nexamples:\n")[2].partition("\n\n")[0].splitlines()
    assert 1 <= len(examples) <= 2
    for line in examples:
        assert f"{line} ".startswith(f"  {parser.prog} ") and len(line) <= 120
        try:
            build_parser().parse_args(shlex.split(line)[1:])
        except SystemExit as stop:  # 0: --help
            assert stop.code == 0, line


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (("route", "q", "--dail", "3"), "--dail: did you mean --dial?"),
        (("route", "q", "--dail=3"), "--dail: did you mean --dial?"),
        (("batch", "in.txt", "--ouptut", "out"), "--ouptut: did you mean --output?"),
        (("--verson",), "--verson: did you mean --version?"),
        (("keys", "create", "me", "--fil", "keys.json"), "--fil: did you mean --file?"),
        (("route", "What", "is", "--buget", "3", "this"), "--buget: did you mean --budget?"),
    ],
)
def test_a_misspelt_flag_is_one_line_with_the_one_that_may_be_meant(
    session: Session, argv: tuple[str, ...], flag: str
) -> None:
    assert session(*argv) == (2, "", f"router: error: there is no flag {flag}\n")


def test_a_flag_like_no_other_is_one_line_that_says_where_they_are_listed(session: Session) -> None:
    line = "router: error: there is no flag --zzz: `router route --help` lists those there are\n"
    assert session("route", "q", "--zzz") == (2, "", line)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (("two", "queries"), "router route 'two queries'"),
        (("What", "is", "this"), "router route 'What is this'"),
        (("--dial", "3", "What", "is", "$x"), "router route 'What is $x'"),
        (("What", "--dial", "3", "is", "it's"), """router route 'What is it'"'"'s'"""),
    ],
)
def test_words_without_quotes_are_one_line_that_says_to_quote_them(
    session: Session, argv: tuple[str, ...], command: str
) -> None:
    code, out, err = session("route", *argv)
    assert (code, out) == (2, "") and not session.router.routed
    assert err == f"router: error: a query is one argument: quote the query, {command}\n"


def test_folds_are_whole_numbers_each_once() -> None:
    assert build_parser().parse_args(["evaluate", "--folds", "9, 8,8"]).folds == [8, 9]


@pytest.mark.parametrize("argv", [("-v", "route", "q"), ("route", "q", "-v")])
def test_verbosity_may_stand_before_or_after_the_command(argv: tuple[str, ...]) -> None:
    args = build_parser().parse_args(argv)
    assert (args.verbose, args.quiet) == (True, False)


def test_a_query_may_start_with_a_dash(session: Session) -> None:
    assert session("route", "--", "-1+1")[0] == 0
    assert session.router.routed[0][0] == "-1+1"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CheckpointError("it is torn"), 1, "router: error: it is torn\n"),
        (UsageError("not so"), 2, "router: error: not so\n"),
        (
            OSError(28, "No space left on device", "out"),
            1,
            "router: error: [Errno 28] No space left on device: 'out'\n",
        ),
        (KeyboardInterrupt(), 130, "router: interrupted\n"),
    ],
)
def test_every_expected_failure_is_one_line_and_a_code(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(session.router, "route", fail)
    assert session("route", "q") == (code, "", line)


def test_a_mistake_of_ours_is_not_hidden(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.router, "route", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session("route", "q")


def test_a_command_leaves_logging_as_it_found_it(session: Session) -> None:
    log = logging.getLogger("router")
    before = (list(log.handlers), log.level, log.propagate)
    session("-v", "route", "q")
    assert (list(log.handlers), log.level, log.propagate) == before


def test_arguments_default_to_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["router", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("router ")
