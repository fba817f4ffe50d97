"""`router serve` as a process of its own: what it prints, and what signals do to it."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fixtures.fault_upstream import FaultUpstream
from fixtures.served import pool_file

from router.cli.main import main
from router.serving.http.server import listen
from router.serving.settings import ServeSettings

pytestmark = pytest.mark.end_to_end


class Process:
    """A server that runs, with the lines of its log."""

    def __init__(self, checkpoint: Path, pool: Path, *flags: str) -> None:
        command = [
            sys.executable,
            "-m",
            "router.cli.main",
            "serve",
            str(pool),
            "--checkpoint",
            str(checkpoint),
            "--port",
            "0",
        ]
        self.child = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = self.wait_for(r"ready on (\S+)")
        self.client = httpx.Client(base_url=ready[1], timeout=10, trust_env=False)

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.lines.append(json.loads(line))

    def wait_for(self, pattern: str, seconds: float = 40) -> re.Match[str]:
        until = time.monotonic() + seconds
        while time.monotonic() < until and (self.child.poll() is None or self._reader.is_alive()):
            for line in self.lines:
                if found := re.search(pattern, line["message"]):
                    return found
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} was not logged: {self.lines}")

    def chat(self, text: str = "prove it", **rest: Any) -> httpx.Response:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **rest}
        return self.client.post("/v1/chat/completions", json=body)

    def end(self, number: int) -> int:
        self.child.send_signal(number)
        return self.child.wait(20)


@pytest.fixture
def upstream() -> Iterator[FaultUpstream]:
    with FaultUpstream("a") as found:
        yield found


@pytest.fixture
def start(tiny_router: Path, tmp_path: Path, upstream: FaultUpstream) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def run(*flags: str, **serve: Any) -> Process:
        started.append(Process(tiny_router, pool_file(tmp_path, [upstream], serve), *flags))
        return started[-1]

    yield run
    for each in started:
        each.client.close()
        each.child.kill()
        each.child.wait()
        each.child.stderr.close()


def rows(log: Path) -> dict[str, int]:
    """Outcomes by decision."""
    with sqlite3.connect(f"file:{log}?mode=ro", uri=True) as read:
        return dict(
            read.execute("SELECT id, (SELECT count(*) FROM outcomes WHERE decision_id = id) FROM decisions").fetchall()
        )


def test_sigterm_ends_what_runs_and_loses_no_row(
    start: Callable[..., Process], upstream: FaultUpstream, tmp_path: Path
) -> None:
    log = tmp_path / "log.sqlite"
    process = start("--decision-log", str(log))
    names = [process.chat(str(n)).headers["x-router-decision-id"] for n in range(20)]
    upstream.gap_s = 0.15
    found: list[httpx.Response] = []
    streaming = threading.Thread(target=lambda: found.append(process.chat("a stream under way", stream=True)))
    streaming.start()
    while not upstream.streaming:
        time.sleep(0.01)
    assert process.end(signal.SIGTERM) == 0
    streaming.join(10)
    assert found[0].text.rstrip().endswith("data: [DONE]")
    names.append(found[0].headers["x-router-decision-id"])
    assert rows(log) == dict.fromkeys(names, 1)
    assert any(line["message"].startswith("stopping") for line in process.lines)
    assert all(line["level"] == "info" for line in process.lines)


def test_kill_loses_no_row_older_than_a_second(start: Callable[..., Process], tmp_path: Path) -> None:
    log = tmp_path / "log.sqlite"
    process = start("--decision-log", str(log))
    names = [process.chat(str(n)).headers["x-router-decision-id"] for n in range(30)]
    time.sleep(1.0)
    process.chat("perhaps lost")
    process.end(signal.SIGKILL)
    found = rows(log)
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, 1)


def test_sighup_takes_a_new_pool_over_while_requests_run(
    start: Callable[..., Process], upstream: FaultUpstream, tmp_path: Path
) -> None:
    process = start()
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=process.client.base_url, trust_env=False, timeout=10) as client:
            while not stop.is_set():
                body = {"model": "auto", "messages": [{"role": "user", "content": str(len(statuses))}]}
                statuses.append(client.post("/v1/chat/completions", json=body).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    with FaultUpstream("b") as second:
        path = pool_file(tmp_path, [upstream, second])
        process.child.send_signal(signal.SIGHUP)
        process.wait_for("reloaded: pool three of 2 models")
        assert [m["id"] for m in process.client.get("/v1/models").json()["data"]][-2:] == ["a", "b"]
        path.write_text("{}")
        process.child.send_signal(signal.SIGHUP)
        process.wait_for("not reloaded, all stays as it was")
        assert process.chat().status_code == 200
        give_up = time.monotonic() + 10
        while len(statuses) <= 5 and time.monotonic() < give_up:
            time.sleep(0.01)
        stop.set()
        asking.join(10)
    assert len(statuses) > 5
    assert set(statuses) == {200}


def test_lines_of_the_log_are_json_and_hold_no_prompt(start: Callable[..., Process]) -> None:
    process = start()
    process.chat("a secret of mine")
    process.client.get("/v1/models?token=hush")
    process.wait_for("^request$")
    process.end(signal.SIGTERM)
    requests = [line for line in process.lines if line["message"] == "request"]
    assert requests[-1].keys() == {"time", "level", "message", "method", "path", "status", "ms"}
    assert "secret" not in json.dumps(process.lines) and "hush" not in json.dumps(process.lines)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["serve", *argv])
    return code, *capsys.readouterr()


def test_check_says_whether_it_could_run(tiny_router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pool_file(tmp_path, [FaultUpstream("a")], a={"upstream": {"api_base": "http://127.0.0.1:9/v1"}})
    given = (str(path), "--checkpoint", str(tiny_router), "--check")
    assert run(capsys, *given) == (0, f"{path}: no problems; 1 models, decides and forwards\n", "")
    raw = json.loads(path.read_text())
    raw["models"][0] |= {"profile": "nobody"}
    path.write_text(json.dumps(raw | {"serve": {"port": "x"}}))
    code, out, err = run(capsys, *given)
    assert (code, out) == (1, "")
    assert "2 problems\n  entry 1 (a): profile: no profile for model 'nobody'" in err
    assert "\n  serve.port: got 'x'" in err


def test_other_machines_are_not_served_without_keys(
    tiny_router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTER_KEYS", str(tmp_path / "none.json"))
    path = pool_file(tmp_path, [FaultUpstream("a")], a={"upstream": {"api_base": "http://127.0.0.1:9/v1"}})
    code, _, err = run(capsys, str(path), "--checkpoint", str(tiny_router), "--host", "0.0.0.0")
    assert code == 1
    assert err.startswith(f"router: error: {path}: serve.host: 0.0.0.0 can be reached from other machines")


def test_a_port_that_is_taken_is_one_line(
    tiny_router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pool_file(tmp_path, [FaultUpstream("a")], a={"upstream": {"api_base": "http://127.0.0.1:9/v1"}})
    with listen(ServeSettings(port=0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = run(capsys, str(path), "--checkpoint", str(tiny_router), "--port", port)
    assert code == 2
    assert err == f"router: error: cannot listen on 127.0.0.1, port {port}: Address already in use; choose another\n"


def test_nothing_phones_home(tiny_router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, sys; from router.cli.main import main; main(sys.argv[1:]);"
        "print(*(os.environ[n] for n in ('LITELLM_LOCAL_MODEL_COST_MAP', 'HF_HUB_DISABLE_TELEMETRY')), file=sys.stderr)"
        "; print(sorted({'litellm', 'wandb'} & set(sys.modules)), file=sys.stderr)"
    )
    path = pool_file(tmp_path, [FaultUpstream("a")], a={"upstream": {"api_base": "http://127.0.0.1:9/v1"}})
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "HF_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", str(path), "--checkpoint", str(tiny_router), "--check"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-2:] == ["True 1", "[]"]


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from router.cli.main import main;"
        "import router.serving.engine; sys.exit(main(['serve', 'pool.yaml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 2
    assert "router serve` needs uvicorn: pip install -e '.[serve]' in" in done.stderr
