"""`router prices`: what it shows, what it changes, and that a bad table changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from fixtures.price_tables import DAY, ROWS, litellm_entry

from router.cli.main import main
from router.pools import price_file
from router.pools.price_file import price_table, table_text
from router.pools.prices import ModelPrice

Command = Callable[..., tuple[int, str, str]]
TODAY = date.today().isoformat()


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Command:
    """Runs `router prices` with the table of ROWS in the user's settings, newer than any shipped one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("ROUTER_PRICES", str(tmp_path / "prices.csv"))
    (tmp_path / "prices.csv").write_text(table_text(DAY, "a test", ROWS))
    price_file.warn_if_old.cache_clear()
    price_file.warn_if_old(price_table())  # said once, and not again

    def command(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["prices", *map(str, argv)])
        return code, *capsys.readouterr()

    return command


def newer(folder: Path, *rows: ModelPrice, day: str = TODAY) -> Path:
    (folder / "newer.csv").write_text(table_text(day, "newer", rows or (*ROWS, ModelPrice("xai/grok-9", 1, 2))))
    return folder / "newer.csv"


def test_the_date_and_the_rows_of_named_models_are_shown(prices: Command) -> None:
    code, out, _ = prices("claude-ode-4.5:think", "gpt-7-mini")
    assert code == 0
    assert out.splitlines() == [
        f"prices of {DAY} from a test, 12 models",
        "model                     in $/Mtok  out  cached read  write  from  context  answer  can",
        "anthropic/claude-ode-4-5          3   15          0.3   3.75  1024   200000   64000  "
        "tools, vision, json_schema, reasoning",
        "openai/gpt-7-mini              0.25    2            ?      ?     ?        ?       ?",
    ]
    assert prices()[1] == f"prices of {DAY} from a test, 12 models\n"


def test_rows_as_json(prices: Command) -> None:
    found = json.loads(prices("gpt-7", "--json")[1])
    assert (found["date"], found["models"], found["prices"][0]["id"]) == (DAY, 12, "openai/gpt-7")
    assert found["prices"][0]["json_schema"] is True and found["prices"][0]["cached_read_usd_per_mtok"] is None


def test_an_unknown_model_is_one_line_on_stderr(prices: Command) -> None:
    code, out, err = prices("gtp-7")
    assert (code, out) == (1, "")
    assert (
        err.startswith(f"router: error: the price table of {DAY} has no 'gtp-7'; nearest of ") and err.count("\n") == 1
    )


def test_an_old_table_is_said_to_be_old(prices: Command, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(table_text("2020-01-01", "long ago", ROWS))
    assert "a table of 2020-01-01, which is" in prices()[2]


def test_diff_shows_what_would_change_and_changes_nothing(prices: Command, tmp_path: Path) -> None:
    before = (tmp_path / "prices.csv").read_bytes()
    code, out, _ = prices("--diff", newer(tmp_path, ModelPrice("openai/gpt-7-mini", 0.2, 2), *ROWS[:6], *ROWS[7:]))
    assert code == 0
    assert out.splitlines() == [
        "openai/gpt-7-mini: input_usd_per_mtok 0.25 -> 0.2",
        "1 models differ",
        f"prices of {TODAY} in place of {DAY}",
    ]
    assert (tmp_path / "prices.csv").read_bytes() == before


def test_update_takes_a_newer_table(prices: Command, tmp_path: Path) -> None:
    code, out, _ = prices("--update", newer(tmp_path), "--json")
    assert code == 0
    assert json.loads(out)["changes"] == {"xai/grok-9": "added"}
    assert json.loads(out)["file"] == str(tmp_path / "prices.csv")
    assert price_table().date == TODAY and "xai/grok-9" in price_table().rows
    assert prices("--update", newer(tmp_path))[2].startswith(f"router: {tmp_path}/prices.csv holds 13 models of newer")


def test_update_takes_litellms_file_and_writes_where_it_is_told(prices: Command, tmp_path: Path) -> None:
    raw = {row.id: litellm_entry(row.seller, row.input_usd_per_mtok, row.output_usd_per_mtok) for row in ROWS}
    (tmp_path / "theirs.json").write_text(json.dumps(raw))
    own = tmp_path / "deep" / "own.csv"
    assert prices("--update", tmp_path / "theirs.json", "--date", TODAY, "--to", own)[0] == 0
    assert own.read_text().startswith(f"# prices of {TODAY} from {tmp_path}/theirs.json\n")
    assert price_table().date == DAY  # another file is in use


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>404</html>", "its first line should be"),
        (table_text("2026-11-19", "older", ROWS), "not taken, the old ones stay: it is of 2026-11-19"),
        (table_text(TODAY, "short", ROWS[:3]), "it has 3 models and the table in use has 12"),
        (table_text(TODAY, "x", ROWS).replace(",15,", ",-15,"), "output_usd_per_mtok: got '-15'"),
    ],
)
def test_a_broken_or_implausible_table_leaves_the_old_one(
    prices: Command, tmp_path: Path, text: str, message: str
) -> None:
    before = (tmp_path / "prices.csv").read_bytes()
    (tmp_path / "new.csv").write_text(text)
    code, out, err = prices("--update", tmp_path / "new.csv")
    assert (code, out) == (1, "") and message in err and err.count("\n") == 1
    assert (tmp_path / "prices.csv").read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.csv", "prices.csv"]


def test_a_broken_table_in_use_can_be_replaced(prices: Command, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("broken")
    assert prices()[0] == 1
    rows = price_file.read_table(price_file.SHIPPED.read_text(encoding="utf-8"), "shipped").rows.values()
    code, _, err = prices("--update", newer(tmp_path, *rows))
    assert code == 0 and "the shipped table is compared" in err
    assert prices()[0] == 0


@pytest.mark.parametrize(
    "argv", [["--to", "x"], ["--date", TODAY], ["gpt-7", "--diff", "x"], ["--diff", "x", "--to", "y"], ["--diff"]]
)
def test_flags_that_do_not_go_together_are_wrong_usage(prices: Command, argv: list[str]) -> None:
    assert prices(*argv)[0] == 2
