"""Price tables made of litellm's file and of others, read from paths and a server on this machine, and checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fixtures.price_tables import DAY, ROWS, litellm_entry, table_of

from router.errors import PoolError, UsageError
from router.pools import price_sources
from router.pools.price_file import table_text
from router.pools.price_sources import changes, check_update, from_litellm, read_source
from router.pools.prices import ModelPrice

FULL = {
    "cache_read_input_token_cost": 3e-7,
    "cache_creation_input_token_cost": 3.75e-6,
    "prompt_cache_min_tokens": 1024,
    "max_input_tokens": 200_000,
    "max_output_tokens": 64_000,
    "supports_function_calling": True,
    "supports_vision": True,
    "supports_response_schema": True,
    "supports_reasoning": True,
}
LITELLM: dict[str, Any] = {
    "sample_spec": {"mode": "one of: chat", "litellm_provider": "one of ..."},
    "claude-ode-4-5": litellm_entry("anthropic", 3, 15, **FULL),
    "claude-latest": {"alias_of": "claude-ode-4-5"},
    "gemini/gemini-9": litellm_entry("gemini", 1, 2),
    "gemini-9": litellm_entry("vertex_ai-language-models", 1, 2, mode="responses"),
    "anthropic.claude-ode-4-5-v1:0": litellm_entry("bedrock_converse", 3, 15),
    "bedrock/eu-west-1/anthropic.claude-ode-4-5-v1:0": litellm_entry("bedrock", 4, 16),  # a region
    "fireworks_ai/accounts/fireworks/models/kimi-k9": litellm_entry("fireworks_ai", 1, 3),
    "fireworks_ai/kimi-k9": litellm_entry("fireworks_ai", 1, 3),
    "ft:gpt-7": litellm_entry("openai", 1, 2),
    "gpt-embed": litellm_entry("openai", 1, 2, mode="embedding"),
    "gpt-draw": litellm_entry("openai", 1, 2, supported_output_modalities=["image"]),
    "gpt-unpriced": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "1e-6"},
    "gpt-free": litellm_entry("openai", 0, 0),
    "corner-shop/gpt-7": litellm_entry("corner-shop", 1, 2),
    "rules": [],
}


class Handler(BaseHTTPRequestHandler):
    """Serves the server's `files` by path."""

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)  # type: ignore[attr-defined]
        self.send_response(404 if content is None else 200)
        self.send_header("content-length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a server on this machine and its files by path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {}  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server.files  # type: ignore[attr-defined]
        server.shutdown()


def test_litellms_file_gives_the_chat_models_that_are_sold_by_the_token() -> None:
    table = from_litellm(LITELLM, DAY, "litellm 1")
    assert (table.date, table.source) == (DAY, "litellm 1")
    full = ModelPrice("anthropic/claude-ode-4-5", 3, 15, 0.3, 3.75, 1024, 200_000, 64_000, True, True, True, True)
    assert list(table.rows) == [
        "anthropic/claude-latest",
        "anthropic/claude-ode-4-5",
        "bedrock/anthropic.claude-ode-4-5-v1:0",
        "fireworks_ai/kimi-k9",
        "gemini/gemini-9",
        "vertex_ai/gemini-9",
    ]
    assert table.rows["anthropic/claude-ode-4-5"] == full
    assert table.rows["anthropic/claude-latest"] == replace(full, id="anthropic/claude-latest")
    assert table.rows["gemini/gemini-9"] == ModelPrice("gemini/gemini-9", 1, 2)


@pytest.mark.parametrize("raw", [[], {}, {"gpt-7": 3}, {"gpt-7": {"alias_of": ["x"]}}])
def test_what_is_not_litellms_file_is_an_error(raw: object) -> None:
    with pytest.raises(PoolError, match="x: "):
        from_litellm(raw, DAY, "x")


def test_a_file_of_litellm_needs_its_day_and_a_table_has_its_own(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "litellm.json", tmp_path / "prices.csv"
    theirs.write_text(json.dumps(LITELLM))
    ours.write_text(table_text(DAY, "x", ROWS))
    assert read_source(str(theirs), DAY).rows == from_litellm(LITELLM, DAY, "x").rows
    assert read_source(str(ours)).rows == table_of().rows
    with pytest.raises(UsageError, match=r"litellm\.json has no date: say with --date"):
        read_source(str(theirs))
    with pytest.raises(UsageError, match=r"prices\.csv has a date of its own: leave out --date"):
        read_source(str(ours), DAY)


def test_a_url_is_read_and_litellms_file_is_of_today(site: tuple[str, dict[str, bytes]]) -> None:
    url, files = site
    files |= {"/l.json": json.dumps(LITELLM).encode(), "/p.csv": table_text(DAY, "x", ROWS).encode()}
    assert read_source(f"{url}/p.csv").rows == table_of().rows
    assert read_source(f"{url}/l.json").date == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "404"), (b"\xff", "codec"), (b"{", "not JSON"), (b"<p>", "first line")],
)
def test_a_url_without_prices_is_an_error_that_names_it(
    site: tuple[str, dict[str, bytes]], content: bytes | None, message: str
) -> None:
    url, files = site
    if content is not None:
        files["/x"] = content
    with pytest.raises(PoolError, match=f"{url}/x.*{message}"):
        read_source(f"{url}/x")


def test_a_download_is_bounded(site: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_sources, "LARGEST_BYTES", 10)
    site[1]["/x"] = b"x" * 11
    with pytest.raises(PoolError, match="more than 10 bytes"):
        read_source(f"{site[0]}/x")
    with pytest.raises(PoolError, match="cannot read prices from nowhere: "):
        read_source("nowhere")


@pytest.mark.parametrize(
    ("rows", "day", "message"),
    [
        (ROWS, "2026-11-19", "it is of 2026-11-19 and the table in use is of 2026-11-20"),
        (ROWS, "2026-12-02", "its date, 2026-12-02, lies in the future"),
        (ROWS[:5], DAY, "it has 5 models and the table in use has 12"),
        (
            [replace(row, input_usd_per_mtok=row.input_usd_per_mtok / 1e6) for row in ROWS],
            DAY,
            "12 of 12 prices differ more than 5-fold .*a wrong unit",
        ),
    ],
)
def test_an_implausible_table_is_not_taken(rows: Any, day: str, message: str) -> None:
    with pytest.raises(PoolError, match=f"not taken, the old ones stay: {message}"):
        check_update(table_of(*rows, day=day), table_of(), date(2026, 11, 29))


def test_a_newer_table_may_hold_great_changes_of_a_few_prices_alone() -> None:
    rows = [ModelPrice(f"xai/grok-{number}", 1, 2) for number in range(20)]
    dear = [replace(row, output_usd_per_mtok=100) for row in rows]
    check_update(table_of(*dear[:2], *rows[2:], day="2026-11-30"), table_of(*rows), date(2026, 11, 29))
    with pytest.raises(PoolError, match="3 of 20 prices differ"):
        check_update(table_of(*dear[:3], *rows[3:], day="2026-11-30"), table_of(*rows), date(2026, 11, 29))


def test_changes_are_listed_by_id_and_field() -> None:
    new = table_of(replace(ROWS[0], input_usd_per_mtok=2, vision=False), *ROWS[2:], ModelPrice("xai/grok-9", 1, 2))
    assert dict(changes(table_of(), new)) == {
        ROWS[0].id: {"input_usd_per_mtok": (3.0, 2.0), "vision": (True, False)},
        ROWS[1].id: "removed",
        "xai/grok-9": "added",
    }
