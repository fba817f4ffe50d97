"""The keys of the pool schema: what each accepts, what it makes of it, and what is said of all the rest."""

from __future__ import annotations

import pytest

from router.pools.schema import Entry, PoolFile, UpstreamSection
from router.validation import Section, read

GOOD = {"id": "a", "input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
BASE = {"api_base": "https://api.example.com/v1"}


def problems_of(raw: object, model: type[Section] = Entry) -> list[str]:
    problems: list[str] = []
    read(model, raw, "here: ", problems)
    return problems


def test_good_values_come_back_in_their_final_types() -> None:
    problems: list[str] = []
    raw = GOOD | {"profile": "a@chat", "price_date": "2024-02-29", "context_window": 7, "modalities": ["text", "image"]}
    entry = read(Entry, raw | {"tools": False, "tags": ["x", "y", "z"], "allow_prior": True}, "", problems)
    assert problems == []
    assert entry.model_dump(exclude_unset=True) == {
        "id": "a",
        "profile": "a@chat",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 2.0,
        "price_date": "2024-02-29",
        "context_window": 7,
        "modalities": ("text", "image"),
        "tools": False,
        "tags": ("x", "y", "z"),
        "allow_prior": True,
    }
    assert isinstance(entry.input_usd_per_mtok, float)


def test_null_leaves_a_key_out_but_for_the_profile() -> None:
    problems: list[str] = []
    entry = read(Entry, GOOD | {"tools": None, "profile": None}, "", problems)
    assert (entry.model_dump(exclude_unset=True), problems) == (GOOD | {"profile": None}, [])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", 4.5, "got 4.5 (a number); write text"),
        ("id", "", "got '' (text); write text"),
        ("id", " a", "got ' a' (text); write text"),
        ("id", "a\nb", "got 'a\\nb' (text); write text"),
        ("profile", ["a"], "got ['a'] (a list); write text"),
        ("input_usd_per_mtok", -0.5, "got -0.5; write 0 or more"),
        ("input_usd_per_mtok", True, "got True (true or false); write a number"),
        ("input_usd_per_mtok", "2.5", "got '2.5' (text); write a number"),
        ("output_usd_per_mtok", float("nan"), "got nan (a number); write a finite number"),
        ("output_usd_per_mtok", float("inf"), "got inf (a number); write a finite number"),
        ("output_usd_per_mtok", 10**400, "write a finite number"),
        ("price_date", "2024-13", "got '2024-13' (text); write a date or a month"),
        ("price_date", "2023-02-29", "got '2023-02-29' (text); write a date or a month"),
        ("price_date", "20241105", "got '20241105' (text); write a date or a month"),
        ("price_date", 2024, "got 2024 (a number); write a date or a month"),
        ("context_window", 0, "got 0 (a number); write a whole number of tokens above 0"),
        ("context_window", 8192.0, "got 8192.0 (a number); write a whole number"),
        ("context_window", True, "got True (true or false); write a whole number"),
        ("modalities", ["text", "smell"], "got ['smell'] (a list); write at least one of text, image, audio, video"),
        ("modalities", [], "got [] (a list); write at least one of"),
        ("modalities", "text", "got 'text' (text); write a list"),
        ("tags", ["x", "y", "x"], "got ['x', 'y', 'x'] (a list); name each once"),
        ("tags", [3], "got 3 (a number); write text"),
        ("tools", 1, "got 1 (a number); write true or false"),
        ("allow_prior", "yes", "got 'yes' (text); write true or false"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_key(key: str, value: object, message: str) -> None:
    [problem] = problems_of(GOOD | {key: value})
    assert problem.startswith(f"here: {key}: ") and message in problem and "\n" not in problem


def test_what_is_missing_is_listed_key_by_key() -> None:
    assert [line.split(";")[0] for line in problems_of({"input_usd_per_mtok": None})] == [
        "here: id: missing",
        "here: input_usd_per_mtok: missing",
        "here: output_usd_per_mtok: missing",
    ]


def test_an_unknown_key_is_told_the_closest_known_one() -> None:
    [close, far, number] = problems_of(GOOD | {"context_windows": 3, "zzz": 1, 5: 1})
    assert close.startswith("here: 'context_windows': unknown key; did you mean context_window? known: id, profile, ")
    assert far.startswith("here: 'zzz': unknown key; known: id, ") and number.startswith("here: 5: unknown key; ")


def test_what_is_no_mapping_is_told_the_keys() -> None:
    assert problems_of("gpt", UpstreamSection) == [
        "here: got 'gpt' (text); write a mapping with the keys api_base, model, key_env, key_file, timeout_s, limits, "
        "provider, retry_after_send, json_schema, max_output_tokens"
    ]
    problems: list[str] = []
    read(PoolFile, None, "", problems)
    keys = "name, protocol, price_date, cost_range_usd, models, serve"
    assert problems == [f"got nothing; write a mapping with the keys {keys}"]


@pytest.mark.parametrize("models", [[], {}, "a"])
def test_a_pool_needs_models(models: object) -> None:
    [problem] = problems_of({"name": "p", "models": models}, PoolFile)
    assert problem.endswith("write a list of at least one model")


@pytest.mark.parametrize("value", [0, -1, "wide", True])
def test_the_cost_range_is_above_zero(value: object) -> None:
    [problem] = problems_of({"name": "p", "models": [1], "cost_range_usd": value}, PoolFile)
    assert problem.startswith("here: cost_range_usd: got ")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "https://api.example.com/v1", "http://[::1]:80/v1/"])
def test_an_upstream_is_an_http_address(address: str) -> None:
    assert problems_of({"api_base": address, "timeout_s": 2.5, "limits": {"rpm": 3}}, UpstreamSection) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("api_base", "ftp://hush.example.com", "opens with http:// or https://"),
        ("api_base", "hush", "opens with http:// or https://"),
        ("api_base", "https://", "names a host"),
        ("api_base", "http://[hush/v1", "not an address"),
        ("api_base", "http://hush:99999/v1", "not an address"),
        ("api_base", 8080, "not an address"),
        ("api_base", "https://hush@api.example.com", "has credentials"),
        ("api_base", "https://api.example.com?key=hush", "has credentials, ?query"),
        ("key_env", "hush-hush", "not the name of an environment variable"),
        ("key_env", 5, "not the name of an environment variable"),
        ("key_file", "sk-hush", "not a path with a / or a dot in it (not shown)"),
        ("key_file", " keys/hush", "not a path"),
        ("key_file", "keys/hush\n", "not a path"),
        ("key_file", 5, "not a path"),
        ("api_key", "hush", "a pool file holds no secret; set an environment variable and name it in upstream.key_env"),
        ("API-Key", "hush", "a pool file holds no secret"),
        ("token", "hush", "a pool file holds no secret"),
        ("timeout_s", 0, "got 0; write a number above 0"),
        ("limits", {"rpm": -1}, "'rpm': got -1; write a number above 0"),
        ("limits", {3: 1}, "3: got 3 (a number); write text"),
        ("limits", 3, "got 3 (a number); write a mapping"),
        ("timeout", 3, "did you mean timeout_s?"),
        ("provider", 3, "got 3 (a number); write text"),
        ("retry_after_send", "no", "got 'no' (text); write true or false"),
        ("json_schema", 1, "write true or false"),
        ("max_output_tokens", 0, "write a whole number of tokens"),
    ],
)
def test_a_wrong_upstream_is_one_line_that_never_repeats_a_secret(key: str, value: object, message: str) -> None:
    [problem] = problems_of(BASE | {key: value}, UpstreamSection)
    assert message in problem and key in problem and "hush" not in problem
