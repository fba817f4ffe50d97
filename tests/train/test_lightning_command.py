from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from train import lightning_command

calls: list[list[str]] = []


def record_sdk() -> None:
    calls.append(["sdk", *sys.argv])


def record_litserve() -> int:
    calls.append(["litserve", *sys.argv])
    return 4


@pytest.fixture(autouse=True)
def no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setattr(sys, "argv", ["pytest"])


def install(monkeypatch: pytest.MonkeyPatch, **owners: str) -> None:
    """Pretend that each distribution installs a `lightning` that runs the named function of this file."""
    entries = []
    for owner, function in owners.items():
        entry = EntryPoint("lightning", f"{__name__}:{function}", "console_scripts")
        vars(entry)["dist"] = SimpleNamespace(name=owner)
        entries.append(entry)
    monkeypatch.setattr(lightning_command, "entry_points", lambda **_: entries)


def fake_trainer(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    module: Any = ModuleType("train.cli")
    module.main = lambda args: calls.append(["ours", *args]) or code
    monkeypatch.setitem(sys.modules, "train.cli", module)


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_training_subcommands_run_our_trainer_even_where_another_lightning_is_installed(
    monkeypatch: pytest.MonkeyPatch, subcommand: str
) -> None:
    install(monkeypatch, litserve="record_litserve")
    fake_trainer(monkeypatch, code=1)
    assert lightning_command.main([subcommand, "--config", "a.yaml"]) == 1
    assert calls == [["ours", subcommand, "--config", "a.yaml"]]


def test_another_subcommand_goes_to_the_other_distribution_with_its_arguments_and_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, inferencedynamics="main", litserve="record_litserve")
    assert lightning_command.main(["deploy", "server.py"]) == 4
    assert calls == [["litserve", "lightning", "deploy", "server.py"]]


def test_lightning_sdk_is_preferred_to_litserve_and_no_return_value_means_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, litserve="record_litserve", Lightning_SDK="record_sdk")
    assert lightning_command.main(["login"]) == 0
    assert calls == [["sdk", "lightning", "login"]]


def test_a_subcommand_of_nobody_is_one_line_that_lists_what_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, inferencedynamics="main")
    assert lightning_command.main(["fti"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "unknown subcommand 'fti'; known: fit, validate, test, predict" in err


@pytest.mark.parametrize(("args", "code", "stream"), [(["--help"], 0, "out"), (["-h"], 0, "out"), ([], 2, "err")])
def test_help_names_the_subcommands_and_who_gets_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], code: int, stream: str
) -> None:
    install(monkeypatch, litserve="record_litserve")
    assert lightning_command.main(args) == code
    shown = getattr(capsys.readouterr(), stream)
    assert "lightning {fit,validate,test,predict}" in shown
    assert shown.endswith("here: litserve\n")
    assert calls == []


def test_training_without_the_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning")

    monkeypatch.setattr(lightning_command, "import_module", missing)
    assert lightning_command.main(["fit"]) == 1
    assert "pip install -e '.[train]'" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'train.fit.losses'", name="train.fit.losses")

    monkeypatch.setattr(lightning_command, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"train\.fit\.losses"):
        lightning_command.main(["fit"])


def test_the_command_itself_imports_neither_lightning_nor_torch() -> None:
    code = (
        "import sys; from train.lightning_command import main; code = main(['--help']); "
        "sys.exit(code or {'lightning', 'torch', 'train.cli'} & set(sys.modules) != set())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_commands_asks_for_console_scripts_and_leaves_ours_out() -> None:
    others = lightning_command.other_commands()
    assert {entry.name for entry in others} <= {"lightning"}
    assert len(others) <= len(entry_points(group="console_scripts", name="lightning"))
    assert not any("train." in entry.value for entry in others)
