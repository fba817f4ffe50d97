"""Pool files whose models take prices, limits and flags from the price table where they state none."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fixtures.price_tables import DAY, ROWS, table_of

from router.errors import PoolError
from router.pools.models import ModelFacts
from router.pools.pool import Candidate, check_pool, read_pool
from router.pools.price_file import warn_if_old

TABLE = table_of()
OPENAI = {"api_base": "https://api.openai.com/v1"}


def entry_of(folder: Path, **entry: Any) -> Candidate:
    (folder / "pool.json").write_text(json.dumps({"name": "p", "price_date": "2024-11", "models": [entry]}))
    [candidate] = read_pool(folder / "pool.json", None, TABLE).candidates
    return candidate


def test_a_model_that_states_nothing_takes_everything_from_the_table(tmp_path: Path) -> None:
    found = entry_of(tmp_path, id="claude-ode-4.5:think", upstream={"api_base": "https://api.anthropic.com/v1"})
    assert found.facts == ModelFacts("claude-ode-4.5:think", 3.0, 15.0, DAY, 200_000, ("text", "image"), True)
    assert found.upstream is not None
    assert (found.upstream.model, found.upstream.json_schema, found.upstream.max_output_tokens) == (
        "claude-ode-4.5:think",
        True,
        64_000,
    )


def test_what_a_model_states_wins(tmp_path: Path) -> None:
    stated = {"input_usd_per_mtok": 9, "output_usd_per_mtok": 8, "context_window": 7, "modalities": ["text"]}
    upstream = OPENAI | {"json_schema": False, "max_output_tokens": 6}
    found = entry_of(tmp_path, id="claude-ode-4.5", tools=False, upstream=upstream, **stated)
    assert found.facts == ModelFacts("claude-ode-4.5", 9.0, 8.0, "2024-11", 7, ("text",), False)
    assert found.upstream is not None
    assert (found.upstream.json_schema, found.upstream.max_output_tokens) == (False, 6)


def test_flags_are_filled_beside_stated_prices_and_unknown_ones_stay_unknown(tmp_path: Path) -> None:
    prices = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    assert entry_of(tmp_path, id="gpt-7", **prices).facts == ModelFacts("gpt-7", 0.0, 0.0, "2024-11", 272_000)
    assert entry_of(tmp_path, id="mine", **prices).facts == ModelFacts("mine", 0.0, 0.0, "2024-11")


@pytest.mark.parametrize(
    ("upstream", "price"),
    [
        (OPENAI | {"model": "gpt-7"}, 1.25),
        (OPENAI | {"model": "my-deployment"}, 0.25),  # unknown: by the id
        ({"api_base": "https://mine.openai.azure.com/v1", "model": "gpt-7"}, 1.5),
        ({"api_base": "https://api.groq.com/openai/v1", "model": "openai/gpt-oss-9b"}, 0.1),
        ({"api_base": "https://openrouter.ai/api/v1", "model": "anthropic/claude-ode-4.5"}, 3.0),
        ({"provider": "deepinfra", "model": "openai/gpt-oss-9b"}, 0.05),
        ({"api_base": "http://127.0.0.1:9/v1"}, 0.25),
    ],
)
def test_the_upstream_says_which_model_is_bought_where(tmp_path: Path, upstream: dict[str, Any], price: float) -> None:
    assert entry_of(tmp_path, id="gpt-7-mini", upstream=upstream).facts.input_usd_per_mtok == price


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"id": "mine"}, "no 'mine'; known: "),
        (
            {"id": "gpt-oss-9b"},
            "'gpt-oss-9b' has several prices on 2026-11-20: write one of deepinfra/openai/gpt-oss-9b",
        ),
        ({"id": "gpt-7", "upstream": {"provider": "ollama"}}, "has no model of provider 'ollama'"),
        ({"id": "gpt-7", "upstream": {"provider": "groq"}}, "no 'groq/gpt-7'"),
    ],
)
def test_a_model_without_any_price_is_one_problem(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(PoolError, match=message) as raised:
        entry_of(tmp_path, **entry)
    assert f"entry 1 ({entry['id']}): input_usd_per_mtok and output_usd_per_mtok: missing; write " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_price_alone_is_a_problem_and_malformed_parts_are_reported_as_ever(tmp_path: Path) -> None:
    models = [{"id": "gpt-7", "input_usd_per_mtok": 1}, {"id": 3}, "gpt-7", {"id": "gpt-7-mini", "upstream": "x"}]
    (tmp_path / "pool.json").write_text(json.dumps({"name": "p", "models": models}))
    problems = check_pool(tmp_path / "pool.json", None, TABLE)
    assert problems[0].startswith("entry 1 (gpt-7): output_usd_per_mtok: missing")
    assert any(each.startswith("entry 3: got 'gpt-7' (text)") for each in problems)
    assert any(each.startswith("entry 4 (gpt-7-mini): upstream: got 'x'") for each in problems)


def test_without_a_table_every_model_has_to_state_its_prices(tmp_path: Path) -> None:
    entry_of(tmp_path, id="gpt-7")
    with pytest.raises(PoolError, match="input_usd_per_mtok: missing"):
        read_pool(tmp_path / "pool.json", None)


def test_an_old_table_is_named_when_a_price_comes_from_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_if_old.cache_clear()
    old = table_of(*ROWS, day="2020-01-01")
    entry_of(tmp_path, id="gpt-7", input_usd_per_mtok=1, output_usd_per_mtok=2)
    with caplog.at_level(logging.WARNING):
        read_pool(tmp_path / "pool.json", None, old)
        assert not caplog.records
        entry_of(tmp_path, id="gpt-7")
        for _ in range(2):
            read_pool(tmp_path / "pool.json", None, old)
    assert [each.message.partition(",")[0] for each in caplog.records] == [
        "prices are taken from a table of 2020-01-01"
    ]
