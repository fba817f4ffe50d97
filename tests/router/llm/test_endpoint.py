"""Endpoints from a pool's entry and from a user's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.errors import UsageError
from router.llm.endpoint import endpoint_of, make_endpoint
from router.pools.pool import read_pool

PRICES = (1.0, 10.0)


def test_an_endpoint_comes_from_a_pools_entry(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "name: p\nmodels:\n"
        "- {id: a, input_usd_per_mtok: 1, output_usd_per_mtok: 2, upstream: {api_base: 'https://x.example/v1', "
        "key_env: K, timeout_s: 5, limits: {requests_per_minute: 30, something_of_the_server: 1}}}\n"
        "- {id: b, input_usd_per_mtok: 1, output_usd_per_mtok: 2}\n"
    )
    first, second = read_pool(file, None).candidates
    made = endpoint_of(first)
    assert (made.url, made.model, made.key_env, made.timeout_s) == (
        "https://x.example/v1/chat/completions", "a", "K", 5.0,
    )  # fmt: skip
    assert made.limits == {"requests_per_minute": 30}
    assert made.cost_usd(1e6, 1e6) == 3
    with pytest.raises(UsageError, match="entry b of the pool has no upstream: add upstream"):
        endpoint_of(second)


def test_the_key_of_a_pools_entry_may_lie_in_a_file_beside_the_pool(tmp_path: Path) -> None:
    file, key = tmp_path / "pool.yaml", tmp_path / "a.key"
    file.write_text(
        "name: p\nmodels:\n- {id: a, input_usd_per_mtok: 1, output_usd_per_mtok: 2, "
        "upstream: {api_base: 'https://x.example/v1', key_file: a.key}}\n"
    )
    made = endpoint_of(read_pool(file, None).candidates[0], "OTHER_KEY")
    assert made.key_env is None
    with pytest.raises(UsageError, match=f"the key of a cannot be read from {key}: No such file"):
        made.key()
    key.write_text("sk-hush\n")
    key.chmod(0o644)
    with pytest.raises(UsageError, match="other users may read") as caught:
        made.key()
    assert "hush" not in str(caught.value)
    key.chmod(0o600)
    assert made.key() == "sk-hush"
    assert "hush" not in repr(made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "api.example.com"}, "base_url of m: not an address"),
        ({"key_env": "sk-123"}, "key_env of m: not the name of an environment variable"),
        ({"timeout_s": 0}, "timeout_s of m: got 0"),
        ({"limits": {"rpm": 3}}, "allowed are concurrency, requests_per_minute, tokens_per_minute"),
        ({"prices": (-1.0, 1.0)}, "input price of m"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str) -> None:
    given = {"base_url": "http://127.0.0.1/v1", "model": "m", "prices": PRICES} | settings
    with pytest.raises(UsageError, match=message) as caught:
        make_endpoint(given.pop("base_url"), given.pop("model"), given.pop("prices"), **given)
    assert "sk-123" not in str(caught.value)
