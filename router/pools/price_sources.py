"""Sources of price tables: litellm's file or another table, from a path or a URL, checked against the table in use.

litellm's file is model_prices_and_context_window.json of https://github.com/BerriAI/litellm (MIT licence), which its
Python package holds as model_prices_and_context_window_backup.json. Opens a connection only for a URL that
the caller names.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from router.errors import PoolError, UsageError
from router.pools.price_file import read_table, table_text
from router.pools.prices import FLAGS, NUMBERS, ModelPrice, PriceTable

LARGEST_BYTES = 20_000_000  # of a downloaded file; litellm's has 4 MB
TIMEOUT_S = 30.0
JUMP, JUMPS = 5.0, 0.1  # a table in which more than this share of prices changed by this factor is taken for broken
SELLERS = {  # litellm's providers of chat models that people buy from, by our names for them
    **{name: name for name in "openai anthropic gemini vertex_ai azure azure_ai bedrock amazon_nova".split()},
    **{name: name for name in "deepseek mistral xai moonshot zai dashscope minimax cohere meta perplexity".split()},
    **{name: name for name in "together_ai fireworks_ai groq deepinfra openrouter cerebras sambanova".split()},
    **{name: name for name in "nebius novita".split()},
    **{"bedrock_converse": "bedrock", "cohere_chat": "cohere"},
}
ONE_PART = ("azure", "bedrock", "perplexity")  # a further part of their names is a region, or a model of others
FLAG_KEYS = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
}


def read_source(source: str, day: str | None = None) -> PriceTable:
    """The table at a path or a URL: one of ours, or made of litellm's file as it was on `day` (a URL: today).

    Raises PoolError where it cannot be read or is broken, UsageError where a day is missing or not wanted.
    """
    url = source.startswith(("http://", "https://"))
    try:
        text = (_downloaded(source) if url else Path(source).read_bytes()).decode("utf-8")
    except (OSError, HTTPException, ValueError) as error:
        raise PoolError(f"cannot read prices from {source}: {error}") from error
    if text.lstrip()[:1] not in ("{", "["):
        if day is not None:
            raise UsageError(f"{source} has a date of its own: leave out --date, which is for litellm's JSON file")
        return read_table(text, source)
    if day is None and not url:
        raise UsageError(f"{source} has no date: say with --date YYYY-MM-DD on which day it was current")
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise PoolError(f"{source} is not JSON: {error}") from error
    return from_litellm(raw, day or datetime.now(UTC).date().isoformat(), source)


def _downloaded(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        content: bytes = response.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES:,} bytes")
    return content


def from_litellm(raw: object, day: str, source: str) -> PriceTable:
    """The table of the chat models in litellm's file that SELLERS sell by the token. PoolError where it is none."""
    if not isinstance(raw, dict):
        raise PoolError(f"{source}: litellm's file is a JSON object of models, got a {type(raw).__name__}")
    rows: dict[str, ModelPrice] = {}
    for name, entry in sorted(raw.items(), key=lambda pair: (len(pair[0]), pair[0])):
        meant = raw.get(str(entry.get("alias_of")), entry) if isinstance(entry, dict) else None
        if isinstance(meant, dict) and (row := _row(name, meant)):
            rows.setdefault(row.id, row)
    return read_table(table_text(day, source, rows.values()), source)


def _row(name: str, entry: Mapping[str, Any]) -> ModelPrice | None:
    """The row of an entry; None for what is no chat model, is sold by none of SELLERS, or has no price above 0."""
    provider = str(entry.get("litellm_provider")).partition("-")[0]
    seller = SELLERS.get(provider)
    price_in, price_out = _usd(entry.get("input_cost_per_token")), _usd(entry.get("output_cost_per_token"))
    outputs = entry.get("supported_output_modalities") or ["text"]
    if seller is None or entry.get("mode") not in ("chat", "responses") or "text" not in outputs:
        return None
    if price_in is None or price_out is None or not price_in + price_out:  # 0: a trial, or nobody knows
        return None
    parts = [part for part in name.split("/") if part not in (seller, provider)] or [name]
    if seller == "fireworks_ai":
        parts = parts[-1:]  # accounts/fireworks/models/ is before all of them, or none
    if re.search(r'[\s,"]|^ft:', name) or (len(parts) > 1 and seller in ONE_PART):
        return None
    numbers = {
        "cached_read_usd_per_mtok": _usd(entry.get("cache_read_input_token_cost")),
        "cached_write_usd_per_mtok": _usd(entry.get("cache_creation_input_token_cost")),
        "min_cached_tokens": _tokens(entry.get("prompt_cache_min_tokens")),
        "context_window": _tokens(entry.get("max_input_tokens")),
        "max_output_tokens": _tokens(entry.get("max_output_tokens")),
    }
    flags = {flag: entry.get(key) is True for flag, key in FLAG_KEYS.items()}
    return ModelPrice(f"{seller}/{'/'.join(parts)}", price_in, price_out, **numbers, **flags)  # type: ignore[arg-type]


def _usd(per_token: object) -> float | None:
    return round(per_token * 1e6, 6) if isinstance(per_token, int | float) else None


def _tokens(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def check_update(new: PriceTable, old: PriceTable, today: date | None = None) -> None:
    """Nothing where `new` may take the place of `old`. Raises PoolError that says why it may not."""
    why = ""
    if new.age_days(today) < -1:  # a day of grace between time zones
        why = f"its date, {new.date}, lies in the future"
    elif new.date < old.date:
        why = f"it is of {new.date} and the table in use is of {old.date}"
    elif len(new.rows) < len(old.rows) / 2:
        why = f"it has {len(new.rows)} models and the table in use has {len(old.rows)}"
    else:
        common = new.rows.keys() & old.rows.keys()
        far = sorted(name for name in common if _jumps(old.rows[name], new.rows[name]))
        if len(far) > JUMPS * len(common):
            why = f"{len(far)} of {len(common)} prices differ more than {JUMP:g}-fold (that of {far[0]}): a wrong unit?"
    if why:
        raise PoolError(f"the prices from {new.source} are not taken, the old ones stay: {why}")


def _jumps(old: ModelPrice, new: ModelPrice) -> bool:
    pairs = ((old.input_usd_per_mtok, new.input_usd_per_mtok), (old.output_usd_per_mtok, new.output_usd_per_mtok))
    return any(max(pair) > JUMP * min(pair) for pair in pairs)


def changes(old: PriceTable, new: PriceTable) -> Iterator[tuple[str, dict[str, tuple[Any, Any]] | str]]:
    """What `new` changes: of each id, in order, `added`, `removed`, or the old and the new value by field."""
    for name in sorted(old.rows.keys() | new.rows.keys()):
        if name not in old.rows or name not in new.rows:
            yield name, "added" if name in new.rows else "removed"
            continue
        before, after = old.rows[name], new.rows[name]
        pairs = {field: (getattr(before, field), getattr(after, field)) for field in (*NUMBERS, *FLAGS)}
        if differing := {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}:
            yield name, differing
