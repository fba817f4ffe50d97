"""Files of price tables: which one is in use, what is wrong with a broken one, and the warning about an old one."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from pathlib import Path

import pytest
from fixtures.price_tables import DAY, ROWS, table_of

from router.errors import PoolError
from router.pools import price_file
from router.pools.price_file import COLUMNS, SHIPPED, price_table, read_table, table_text, warn_if_old

HEAD = f"# prices of {DAY} from x\n{','.join(COLUMNS)}\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's price file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ROUTER_PRICES", raising=False)
    (tmp_path / "inferencedynamics").mkdir()
    return tmp_path / "inferencedynamics" / "prices.csv"


def test_the_newer_of_the_shipped_and_the_users_table_is_in_use(settings: Path) -> None:
    shipped = read_table(SHIPPED.read_text(encoding="utf-8"), "shipped")
    assert price_table().rows == shipped.rows
    settings.write_text(table_text("2000-01-01", "old", ROWS))
    assert price_table().date == shipped.date
    settings.write_text(table_text("2099-01-01", "new", ROWS))
    assert price_table().source == "new"
    assert price_table() is price_table()


def test_a_named_table_is_in_use_whatever_its_date(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTER_PRICES", str(tmp_path / "own.csv"))
    with pytest.raises(PoolError, match=r"cannot read the price table .*own\.csv.*No such file"):
        price_table()
    (tmp_path / "own.csv").write_text(table_text("2000-01-01", "mine", ROWS))
    assert price_table().source == "mine"


def test_a_broken_table_of_the_users_is_an_error_and_not_passed_over(settings: Path) -> None:
    settings.write_bytes(b"\xff")
    with pytest.raises(PoolError, match=r"cannot read the price table .*prices\.csv"):
        price_table()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line should be `# prices of YYYY-MM-DD from SOURCE`, got ''"),
        ("<html>", "its first line"),
        (HEAD.replace(DAY, "2026-13-01"), "line 1: 2026-13-01 is no date"),
        (HEAD.replace("flags", "flag"), "line 2 should be id,input_usd_per_mtok"),
        (HEAD, "it has no rows"),
        (HEAD + "a/b,1\n", "line 3: 2 cells, there should be 9"),
        (HEAD + "b,1,2,,,,,,\n", "line 3: id: got 'b'; write seller/model"),
        (HEAD + "a/b,,2,,,,,,\n", "line 3: input_usd_per_mtok: got ''"),
        (HEAD + "a/b,nan,2,,,,,,\n", "got 'nan'; allowed is a price in USD per million tokens, 0 to 10000"),
        (HEAD + "a/b,1,-2,,,,,,\n", "output_usd_per_mtok: got '-2'"),
        (HEAD + "a/b,1,20000,,,,,,\n", "output_usd_per_mtok: got '20000'"),
        (HEAD + "a/b,1,2,,,,1.5,,\n", "context_window: got '1.5'; allowed is a whole number above 0"),
        (HEAD + "a/b,1,2,,,,,,tools fly\n", "flags: got 'fly'; allowed are tools, vision"),
        (HEAD + 2 * "a/b,1,2,,,,,,\n", "line 4: an earlier line has 'a/b' too"),
        (HEAD + 9 * "a/b\n", "line 7: 1 cells.*; and 4 more problems"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PoolError, match=f"^here: .*{message}"):
        read_table(text, "here")


def test_an_old_table_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    price_file.warn_if_old.cache_clear()
    today = date.today()
    fresh, old = (table_of(day=(today - timedelta(days)).isoformat()) for days in (90, 91))
    with caplog.at_level(logging.WARNING):
        warn_if_old(fresh)
        assert not caplog.records
        for _ in range(2):
            warn_if_old(old)
    assert [each.message for each in caplog.records] == [
        f"prices are taken from a table of {old.date}, which is 91 days old: `router prices --update` takes a newer one"
    ]
