"""The cache and ledger in a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from router.errors import UsageError
from router.llm.store import Store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def test_what_was_under_way_at_a_kill_counts_at_the_most_it_can_cost(cache: Path) -> None:
    with Store(cache) as store:
        store.begin("a", 0.5)
        number = store.begin("b", 0.5)
        store.settle(number, "b", 0.125, None)
    with Store(cache) as store:
        assert (store.lost, store.spent_usd) == (1, 0.625)
    with Store(cache) as store:
        assert (store.lost, store.spent_usd) == (0, 0.625)


def test_a_file_in_use_and_a_file_of_another_kind_are_one_clear_error(tmp_path: Path, cache: Path) -> None:
    with Store(cache), pytest.raises(UsageError, match="is in use by another run"):
        Store(cache)
    other = tmp_path / "other"
    other.write_text("this is no database, it is a text of a certain length " * 30)
    with pytest.raises(UsageError, match=r"cannot use .* as a cache of answers"):
        Store(other)
    assert sqlite3.connect(cache).execute("SELECT COUNT(*) FROM answers").fetchone() == (0,)
