"""The rule by which a name finds its row of the price table, on invented models and on the shipped table."""

from __future__ import annotations

from datetime import date

import pytest
from fixtures.price_tables import ROWS, table_of

from router.errors import PoolError
from router.pools.price_file import SHIPPED, read_table

TABLE = table_of()
ODE, DATED = "anthropic/claude-ode-4-5", "anthropic/claude-ode-4-5-20260102"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        (ODE, ODE),
        ("claude-ode-4.5", ODE),
        ("Claude_Ode-4.5:think", ODE),
        ("claude-ode-4.5:HIGH", ODE),
        ("openrouter/anthropic/claude-ode-4.5", ODE),
        ("openrouter/anthropic/claude-ode-4.5:low", ODE),
        (DATED, DATED),
        ("claude-ode-4-5-2026-01-02", ODE),  # written otherwise than the row's: as without its date
        ("anthropic/claude-ode-4-5-20991231", ODE),
        ("claude-lay-4", "anthropic/claude-lay-4-20260301"),  # the newest
        ("vertex_ai/claude-ode-4-5@20260102", "vertex_ai/claude-ode-4-5@20260102"),
        ("vertex_ai/claude-ode-4.5", "vertex_ai/claude-ode-4-5@20260102"),
        ("gpt-7", "openai/gpt-7"),  # its maker's
        ("azure/gpt-7:minimal", "azure/gpt-7"),
        ("groq/openai/gpt-oss-9b", "groq/openai/gpt-oss-9b"),
        ("groq/gpt-oss-9b", "groq/openai/gpt-oss-9b"),
        ("together/Lama-5-8B", "together_ai/lama/Lama-5-8B"),
        ("lama-5-8b", "groq/lama-5-8b"),  # the same price everywhere
    ],
)
def test_a_usual_name_means_one_row(name: str, row: str) -> None:
    assert TABLE.find(name).id == row


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gpt-oss-9b",
            "several prices on 2026-11-20: write one of deepinfra/openai/gpt-oss-9b, groq/openai/gpt-oss-9b",
        ),
        ("openrouter/openai/gpt-oss-9b", "write one of deepinfra/openai/gpt-oss-9b, groq/"),
        ("gtp-7-mini", r"has no 'gtp-7-mini'; nearest of \d+: openai/gpt-7-mini, "),
        ("groq/gpt-7", "has no 'groq/gpt-7'; known: azure/gpt-7, openai/gpt-7$"),
        ("gpt-7:loud", "has no 'gpt-7:loud'"),
        ("claude-lay-4-20240101", "has no 'claude-lay-4-20240101'"),  # which of its dates would be a guess
        ("", "has no ''"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_one_error_with_the_nearest_names(name: str, message: str) -> None:
    with pytest.raises(PoolError, match=message) as raised:
        TABLE.find(name)
    assert "\n" not in str(raised.value)


def test_a_seller_is_known_by_its_name_or_its_address() -> None:
    assert [TABLE.seller(name) for name in ("together", "together_ai", "openrouter", "ollama")] == [
        "together_ai",
        "together_ai",
        "openrouter",
        None,
    ]
    addresses = {
        "https://api.deepinfra.com/v1/openai": "deepinfra",
        "https://api.together.xyz/v1": "together_ai",
        "https://mine.openai.azure.com:443/x": "azure",
        "http://127.0.0.1:8000/v1": None,
        "not an address": None,
    }
    assert {address: TABLE.seller_at(address) for address in addresses} == addresses


def test_a_table_says_how_old_it_is() -> None:
    assert TABLE.age_days(date(2026, 11, 29)) == 9


def test_every_row_of_the_shipped_table_is_found_by_its_id() -> None:
    table = read_table(SHIPPED.read_text(encoding="utf-8"), "shipped")
    assert len(table.rows) > 1000 and SHIPPED.stat().st_size < 500_000
    assert all(table.find(name) is row for name, row in table.rows.items())


@pytest.mark.parametrize(
    "name", ["gpt-5:high", "claude-sonnet-4.5:think", "openrouter/google/gemini-3.5-flash", "deepseek/deepseek-v4-pro"]
)
def test_the_shipped_table_knows_models_of_today_at_their_makers(name: str) -> None:
    row = read_table(SHIPPED.read_text(encoding="utf-8"), "shipped").find(name)
    assert row.seller in ("openai", "anthropic", "gemini", "deepseek") and row.output_usd_per_mtok > 0 and row.tools


def test_rows_are_sorted_and_equal_after_a_round_trip() -> None:
    assert list(TABLE.rows.values()) == sorted(ROWS, key=lambda row: row.id)
