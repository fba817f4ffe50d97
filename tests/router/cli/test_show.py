"""`router pools`, `show`, `evaluate` and `index`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.fake_router import AXES, FakeRouter, Session

from router.cli.main import main
from router.evaluation import dataset
from router.evaluation import pool_report as evaluation

POOL_FILE = """
name: mine
models:
  - {id: big, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  - {id: huge, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  - {id: small, profile: small@chat, output_usd_per_mtok: 2}
"""


@pytest.fixture
def session(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path, capsys, monkeypatch)


def test_pools_lists_every_pool_and_its_members(session: Session) -> None:
    code, out, err = session("pools")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "trio  (3 models, the default)",
        "  model  in $/Mtok  out $/Mtok  context  input       tools",
        "  big          2.5          10   128000  text,image  yes",
        "  small        0.1         0.2        ?  text        ?",
        "  new            1           3        ?  text        ?      prior",
        "",
        "solo  (1 model)",
        "  model  in $/Mtok  out $/Mtok  context  input  tools",
        "  small        0.1         0.2        ?  text   ?",
    ]


def test_pools_as_json_carry_facts_and_profiles(session: Session) -> None:
    listed = json.loads(session("pools", "--json")[1])
    assert listed["schema_version"] == 1
    assert listed["default_pool"] == "trio"
    assert [(pool["name"], pool["default"], len(pool["models"])) for pool in listed["pools"]] == [
        ("trio", True, 3),
        ("solo", False, 1),
    ]
    assert listed["pools"][0]["models"][0]["profile"] == "big@chat"
    assert listed["pools"][0]["models"][2]["profile"] is None


def test_check_prints_every_problem_of_a_pool_file(session: Session) -> None:
    (session.folder / "pool.yaml").write_text(POOL_FILE)
    code, out, err = session("pools", "--check", "pool.yaml")
    assert (code, err) == (1, "")
    assert len(out.splitlines()) == 2
    assert all(line.startswith("pool.yaml: entry ") for line in out.splitlines())
    assert "huge" in out and "input_usd_per_mtok" in out
    code, out, _ = session("pools", "--check", "pool.yaml", "--json")
    assert code == 1
    assert len(json.loads(out)["problems"]) == 2


def test_check_of_a_good_file_says_so(session: Session) -> None:
    (session.folder / "pool.yaml").write_text("\n".join(POOL_FILE.splitlines()[:4]))
    assert session("pools", "--check", "pool.yaml") == (0, "pool.yaml: no problems\n", "")


def test_check_of_a_missing_file_is_a_problem_too(session: Session) -> None:
    code, out, _ = session("pools", "--check", "nowhere.yaml")
    assert code == 1
    assert out.startswith("nowhere.yaml: ")


def test_check_without_a_checkpoint_looks_at_the_structure_and_says_so(session: Session) -> None:
    session.monkeypatch.delenv("ROUTER_CHECKPOINT")
    session.monkeypatch.setattr("router.checkpoint.default_checkpoint.SHIPPED_CHECKPOINT", session.folder / "none")
    (session.folder / "pool.yaml").write_text("\n".join(POOL_FILE.splitlines()[:5]))
    code, out, err = session("pools", "--check", "pool.yaml")
    assert (code, out) == (0, "pool.yaml: no problems in its structure\n")
    assert err.startswith("router: only the structure is checked")


def test_show_prints_facts_and_the_strongest_and_weakest_axes(session: Session) -> None:
    code, out, err = session("show", "big", "--pool", "trio", "--top", "2")
    assert (code, err) == (0, "")
    assert "price     2.5 in, 10 out, USD per Mtok" in out
    assert "score     0.625" in out
    assert out.splitlines()[-3:] == [
        "strongest axes   logit  weakest axes   logit",
        "coding          +1.250  reasoning     -0.750",
        "writing         +0.500  writing       +0.500",
    ]


def test_show_as_json_holds_every_axis(session: Session) -> None:
    shown = json.loads(session("show", "small", "--protocol", "letter", "--json")[1])
    assert (shown["schema_version"], shown["model"], shown["protocol"]) == (1, "small", "letter")
    assert shown["axes"] == AXES
    assert (shown["bias"], shown["mean_score"]) == (0.5, 0.625)


def test_show_takes_the_profile_that_the_pool_means(session: Session) -> None:
    assert json.loads(session("show", "small", "--pool", "solo", "--json")[1])["protocol"] == "letter"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("bigg",), "no profile for model 'bigg'; known: big, small"),
        (("small",), "known under several protocols: write one of small@chat, small@letter, or name a pool"),
        (("big", "--pool", "solo"), "no model 'big' in pool 'solo'; known: small"),
        (("new", "--pool", "trio"), "model 'new' of pool 'trio' has no profile"),
    ],
)
def test_show_of_an_unknown_model_says_what_is_known(session: Session, argv: tuple[str, ...], message: str) -> None:
    code, out, err = session("show", *argv)
    assert (code, out) == (1, "")
    assert message in err


@pytest.fixture
def judged(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `evaluate_router` was called with; it answers with fixed figures."""
    seen: list[Any] = []

    def evaluate_router(router: FakeRouter, folder: Path, pool: Any, **options: Any) -> dict[str, Any]:
        seen.append((folder, pool.name, options))
        return {"n": 12, "quality": 0.81234567, "gap_closed": None, "ece": float("nan")}

    monkeypatch.setattr(evaluation, "evaluate_router", evaluate_router)
    monkeypatch.setattr(dataset, "data_folders", lambda path: (Path(path or "found"),))
    return seen


def test_evaluate_prints_one_json_object(session: Session, judged: list[Any]) -> None:
    code, out, err = session("evaluate", "--data", "d", "--pool", "solo", "--split", "test", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "schema_version": 1, "data": "d", "pool": "solo", "split": "test",
        "n": 12, "quality": 0.81234567, "gap_closed": None, "ece": None,
    }  # fmt: skip
    options = {"split": "test", "folds": None, "progress": False, "batch_size": 32}
    assert judged == [("d", "solo", options)]


def test_evaluate_without_json_prints_a_table(session: Session, judged: list[Any]) -> None:
    code, out, _ = session("evaluate", "--folds", "8,9", "--batch-size", "5")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["figure", "value"], ["data", "found"], ["pool", "trio"], ["folds", "8,9"],
        ["n", "12"], ["quality", "0.8123"], ["gap_closed", "none"], ["ece", "none"],
    ]  # fmt: skip
    assert judged[0][2] == {"split": None, "folds": [8, 9], "progress": False, "batch_size": 5}


def test_evaluate_without_its_packages_says_what_to_install(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "router.evaluation.dataset", "router.evaluation.pool_report"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, out, err = session("evaluate", "--split", "test")
    assert (code, out) == (2, "")
    assert "needs pandas: pip install -e '.[evaluate]'" in err


def test_a_missing_data_folder_is_said_before_the_checkpoint_is_loaded(session: Session) -> None:
    code, _, err = session("evaluate", "--data", "nowhere", "--split", "test")
    assert code == 1
    assert "no data at nowhere" in err


def test_an_index_is_built_into_the_checkpoint_where_it_is_of_use(tiny_router: Path, capsys: Any) -> None:
    given = ("--checkpoint", str(tiny_router))
    assert main(["index", *given]) == 0
    assert capsys.readouterr().out == "pool both of 2 models needs no index: all of them are scored\n"
    assert main(["index", *given, "--pool", "odd", "--index", "flat", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pool"], told["models"]) == ("odd", 3)
    file = Path(told["file"])
    assert file.parent == tiny_router / "index" and file.name.startswith("odd-") and file.is_file()
    assert main(["route", *given, "prove it", "--pool", "odd", "--index", "flat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] in {"large-eu", "small", "new"}
