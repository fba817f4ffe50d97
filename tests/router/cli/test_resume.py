"""`router route --output`: stopped, killed, torn, and continued without losing or repeating a line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fixtures.fake_router import INPUT, QUERIES, FakeRouter, Session


@pytest.fixture
def route(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr("router.cli.route.AHEAD", 1)  # so that a few lines are several windows
    return Session(tmp_path, capsys, monkeypatch, "route")


@pytest.mark.parametrize("batch_size", ["1", "2", "5"])
@pytest.mark.parametrize("stop_after", [0, 1, 3, 4])
def test_an_interrupted_run_is_resumed_without_losing_or_repeating_a_line(
    route: Session, stop_after: int, batch_size: str
) -> None:
    argv = ("--input", "in.jsonl", "--batch-size", batch_size, "--output", "out.jsonl")
    route("--input", "in.jsonl", "--batch-size", batch_size, "--output", "whole.jsonl")
    route.router = FakeRouter(stop_after)
    code, out, err = route(*argv)
    kept = (route.folder / "out.jsonl.partial").read_bytes()
    assert (code, out) == (130, "")
    assert f"keeps {len(kept.splitlines())} finished lines" in err
    assert f"go on with: router route {' '.join(argv)} --resume\nrouter: interrupted\n" in err
    assert "out.jsonl" not in route.names()
    finished = [record["line"] for record in map(json.loads, kept.splitlines()) if "model" in record]
    route.router = FakeRouter()
    assert route(*argv, "--resume")[0] == 3
    assert len(route.router.routed) == len(QUERIES) - len(finished)
    assert route.records() == route.records("whole.jsonl")
    assert route.names() == {"in.jsonl", "whole.jsonl", "out.jsonl"}


def test_a_partial_torn_anywhere_resumes_to_the_same_output(route: Session) -> None:
    argv = ("--input", "in.jsonl", "--output", "out.jsonl", "--batch-size", "1")
    route("--input", "in.jsonl", "--output", "whole.jsonl", "--batch-size", "1")
    route.router = FakeRouter(stop_after=4)
    route(*argv)
    partial, about = route.folder / "out.jsonl.partial", route.folder / "out.jsonl.partial.json"
    torn, known = partial.read_bytes(), about.read_bytes()
    for cut in range(1, len(torn), 101):
        partial.write_bytes(torn[:cut])
        about.write_bytes(known)
        route.router = FakeRouter()
        assert route(*argv, "--resume", "--force")[0] == 3
        assert route.records() == route.records("whole.jsonl")


def test_an_error_in_the_middle_leaves_a_partial_and_says_how_to_go_on(route: Session) -> None:
    route.router = FakeRouter(3, stop=OSError)
    code, _, err = route("--input", "in.jsonl", "--output", "out.jsonl", "--batch-size", "1")
    assert code == 1
    assert "out.jsonl.partial keeps 5 finished lines; go on with: router route" in err
    assert "router: error:" in err


def test_a_changed_input_or_setting_is_not_resumed(route: Session) -> None:
    argv = ("--input", "in.jsonl", "--output", "out.jsonl", "--batch-size", "1")
    route.router = FakeRouter(2)
    route(*argv)
    route.router = FakeRouter()
    code, _, err = route(*argv, "--resume", "--dial", "5")
    assert code == 2
    assert "dial was 3.0, now 5.0" in err
    assert "pool was" in route(*argv, "--resume", "--pool", "solo")[2]
    (route.folder / "in.jsonl").write_bytes(INPUT + b"\n")
    assert "input_sha256 was" in route(*argv, "--resume")[2]
    assert route.router.routed == []
    (route.folder / "in.jsonl").write_bytes(INPUT)
    assert route(*argv[:4], "--resume", "--batch-size", "3", "--dial", "3")[0] == 3


def test_an_interrupted_run_to_stdout_says_how_far_it_came(route: Session) -> None:
    route.router = FakeRouter(2)
    code, out, err = route("--input", "in.jsonl", "--batch-size", "1")
    assert (code, out.count("\n")) == (130, 3)
    assert "stopped after 3 lines" in err


def test_an_interrupted_run_from_stdin_keeps_its_lines(route: Session) -> None:
    route.router = FakeRouter(1)
    code, _, err = route("-", "--output", "out.jsonl", "--batch-size", "1", stdin=b"one\ntwo\n")
    assert code == 130
    assert "out.jsonl.partial keeps 1 finished lines; stdin cannot be resumed" in err


def test_a_resumed_run_shows_its_progress_from_where_it_was(route: Session) -> None:
    argv = ("--input", "in.jsonl", "--output", "out.jsonl", "--batch-size", "1")
    route.router = FakeRouter(2)
    route(*argv)
    route.router = FakeRouter()
    assert "router: resuming after 3 finished lines\n" in route(*argv, "--resume")[2]


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fixtures import fake_router
from router.cli import main, route
fake = fake_router.FakeRouter()
fake.delay = {delay}
route.load_router = lambda args: fake
sys.exit(main.main(sys.argv[1:]))
"""


def process(folder: Path, delay: float, *argv: str, **settings: Any) -> subprocess.Popen[bytes]:
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM.format(tests=str(tests), delay=delay), "route", *argv]
    environment = os.environ | {"PYTHONPATH": str(tests.parent), "ROUTER_CHECKPOINT": "some/checkpoint"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
    )


def test_a_run_killed_in_the_middle_is_resumed(route: Session) -> None:
    (route.folder / "in.txt").write_bytes(b"".join(b"query %d\n" % i for i in range(1, 101)))
    argv = ("--input", "in.txt", "--output", "out.jsonl", "--batch-size", "3")
    running = process(route.folder, 0.02, *argv)
    partial = route.folder / "out.jsonl.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 2000) and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    kept = len(partial.read_bytes().splitlines())
    assert 0 < kept < 100
    assert route(*argv)[0] == 2
    assert route(*argv, "--resume")[0] == 0
    assert [query for query, _ in route.router.routed] == [f"query {i}" for i in range(kept + 1, 101)]
    assert [record["line"] for record in route.records()] == list(range(1, 101))


def test_a_reader_that_goes_away_is_no_failure(route: Session) -> None:
    (route.folder / "in.txt").write_bytes(b"query\n" * 5000)
    running = process(route.folder, 0.0, "--input", "in.txt")
    assert running.stdout is not None and running.stderr is not None
    assert json.loads(running.stdout.readline())["line"] == 1
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait() == 0
