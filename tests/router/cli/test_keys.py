"""`router keys`, from the command line to the file and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from router.cli.main import main
from router.serving.client_keys import KeyRing

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command finds the keys by default."""
    monkeypatch.setenv("ROUTER_KEYS", str(tmp_path / "keys" / "keys.json"))
    return tmp_path / "keys" / "keys.json"


@pytest.fixture
def keys(file: Path, capsys: pytest.CaptureFixture) -> Command:
    """Runs `router keys` with these arguments: exit code, stdout, stderr."""

    def command(*argv: str) -> tuple[int, str, str]:
        code = main(["keys", *argv])
        return code, *capsys.readouterr()

    return command


def test_a_key_is_created_listed_and_revoked(keys: Command, file: Path) -> None:
    code, out, err = keys("create", "ci", "--requests-per-minute", "60")
    secret = out.strip()
    key = KeyRing(file).check(secret)
    assert code == 0
    assert key is not None
    assert key.requests_per_minute == 60
    assert "kept nowhere" in err
    code, out, _ = keys("list")
    assert code == 0
    assert out.splitlines()[1].split()[:3] == [key.id, "ci", "60"]
    assert secret not in out
    code, out, _ = keys("revoke", key.id)
    assert (code, f"key {key.id} (ci) is revoked" in out) == (0, True)
    assert KeyRing(file).check(secret) is None
    assert keys("list")[1].splitlines()[1].split()[-1] != "-"


def test_the_same_as_json(keys: Command, file: Path) -> None:
    made = json.loads(keys("create", "ci", "--json")[1])
    assert KeyRing(file).check(made["secret"]) is not None
    listed = json.loads(keys("list", "--json")[1])
    assert [(key["id"], key["requests_per_minute"]) for key in listed["keys"]] == [(made["id"], None)]
    assert "secret" not in listed["keys"][0]
    assert json.loads(keys("revoke", made["id"], "--json")[1])["name"] == "ci"


def test_another_file_may_be_named(keys: Command, file: Path, tmp_path: Path) -> None:
    assert keys("create", "ci", "--file", str(tmp_path / "mine.json"))[0] == 0
    assert len(KeyRing(tmp_path / "mine.json").list()) == 1
    assert not file.exists()
    code, out, err = keys("list")
    assert (code, out) == (0, "")
    assert "holds no keys" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["create", "a", "--file", "/nowhere/keys.json"], "no folder /nowhere"),
        (["create", ""], "allowed is printable text"),
        (["create", "a", "--requests-per-minute", "0"], "a whole number of at least 1"),
        (["revoke", "nope"], "holds no key 'nope'"),
        ([], "ACTION"),
        (["creat", "a"], "invalid choice"),
    ],
    ids=str,
)
def test_wrong_usage_is_one_clear_error(keys: Command, file: Path, argv: list[str], message: str) -> None:
    keys("create", "ci")
    code, out, err = keys(*argv)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
