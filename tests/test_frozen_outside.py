"""What others rely on, held against recordings in tests/golden: flags, JSON fields, HTTP answers, metrics, log columns.

A difference means that somebody's script breaks. Where the change is meant, record anew and read the difference:

    UPDATE_GOLDEN=1 python -m pytest tests/test_frozen_outside.py
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fixtures.served import serving

from router import Router
from router.checkpoint.checkpoint import Checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
GOLDEN = REPOSITORY / "tests" / "golden"

# Prints every parser that `--help` would show, as its structure: the layout of argparse's text differs between Pythons.
HELP = """
import argparse, importlib, sys
def shown(parser, file=None):
    lines.append(f"{parser.prog}: {' '.join((parser.description or '').split())} | {parser.epilog or ''}")
    formatter, nested = parser._get_formatter(), []
    for each in parser._actions:
        text = "" if each.help in (None, argparse.SUPPRESS) else " ".join(formatter._expand_help(each).split())
        kinds = isinstance(each, argparse._SubParsersAction)
        choices = sorted(map(str, each.choices)) if each.choices is not None else ""
        name = " ".join(each.option_strings) or f"<{each.dest}>"
        lines.append(f"  {name} [{each.metavar}] nargs={each.nargs} required={each.required} {choices} {text}".rstrip())
        nested += each.choices.values() if kinds else []
    for each in nested:
        shown(each)
lines = []
argparse.ArgumentParser.print_help = shown
for name, *arguments in COMMANDS:
    module, _, function = name.partition(":")
    try:
        getattr(importlib.import_module(module), function)([*arguments, "--help"])
    except SystemExit:
        pass
print(*lines, sep="\\n")
"""


def recorded(name: str, text: str) -> str:
    """The recording of that name; with UPDATE_GOLDEN=1 the text becomes it."""
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    return file.read_text(encoding="utf-8")


def shape(value: Any) -> Any:
    """A JSON value with every leaf replaced by its type, a list by its first element; names of axes do not count."""
    if isinstance(value, dict):
        return {key: "axes" if key in ("capabilities", "domains") else shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def lines_of(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def router_command() -> str:
    """Module and function of the `router` command."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]["router"]


@pytest.mark.parametrize("package", ["router", "train"])
def test_every_flag_of_every_command_is_as_recorded(package: str) -> None:
    if package == "router":
        commands = [[router_command()]]
    else:
        from train.__main__ import COMMANDS

        commands = [["train.__main__:main", name] for name in COMMANDS]
    code = HELP.replace("COMMANDS", repr(commands), 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n  --") > 50
    text = done.stdout
    assert text == recorded(f"flags-{package}.txt", text)


JSON_COMMANDS = {
    "route": ["route", "prove that two is prime", "--json"],
    "route-goal": ["route", "--input", "queries.txt", "--budget", "5"],
    "pools": ["pools", "--json"],
    "show": ["show", "large", "--json"],
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_the_fields_of_json_are_as_recorded(name: str, tiny_router: Path) -> None:
    (tiny_router.parent / "queries.txt").write_text("prove that two is prime\nwrite python code\n")
    module, _, function = router_command().partition(":")
    run = f"import sys, {module} as main; sys.exit(main.{function}(sys.argv[1:]))"
    command = [sys.executable, "-c", run, *JSON_COMMANDS[name], "--checkpoint", str(tiny_router)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tiny_router.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = lines_of(shape(json.loads(done.stdout.splitlines()[0])))
    assert text == recorded(f"json-{name}.json", text)


def test_fields_written_by_python_are_as_recorded(tiny_router: Path) -> None:
    decision = Router.from_pretrained(tiny_router).route("prove that two is prime")
    text = lines_of(shape(decision.to_json()))
    assert text == recorded("json-decision.json", text)


def test_the_gateway_answers_as_recorded(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path, serve={"decision_log": str(tmp_path / "log.db")}) as served:
        client = served.client
        routed = client.post("/v1/route", json={"query": "prove it"}).json()
        chat = served.chat()
        batch = client.post("/v1/route/batch", json={"queries": ["prove it", "write code"]}).json()
        wrong = client.post("/v1/route", json={"query": ""}).json()
        kept = client.get(f"/v1/decisions/{routed['id']}").json()
        document = client.get("/openapi.json").json()
        metrics = client.get("/metrics").text
        headers = sorted(name for name in chat.headers if name.startswith("x-"))
    names = {"decision": routed, "batch": batch, "error": wrong, "kept": kept}
    text = lines_of({**{name: shape(each) for name, each in names.items()}, "headers of chat": headers})
    assert text == recorded("http.json", text)
    text = lines_of(document)
    assert text == recorded("openapi.json", text)
    text = "".join(f"{line}\n" for line in metrics.splitlines() if line.startswith("#"))
    assert text == recorded("metrics.txt", text)
    with sqlite3.connect(tmp_path / "log.db") as log:
        tables = log.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    text = "".join(f"{' '.join(each.split())}\n" for (each,) in tables)
    assert text == recorded("log.sql", text)


DOCUMENTED = """
from router import Decision, Pool, Router
from router.onboarding import onboard
from router.serving.engine import Engine
from router.serving.http.app import make_app
assert all(map(callable, (Decision, Pool, Router, onboard, Engine, make_app)))
"""


@pytest.mark.parametrize("command", [["-c", DOCUMENTED], ["-m", "router.batch", "--help"]], ids=["imports", "module"])
def test_documented_imports_and_modules_work(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
