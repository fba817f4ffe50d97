"""Pools and candidates: reading, finding every problem at once, profiles, priors, and the round trip through JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from router.errors import PoolError
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool, Upstream, check_pool, pool_from_json, pool_to_json, read_pool

SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "pools").rglob("*.yaml"))
SIZES = {
    "chat27": 27,
    "chat28": 28,
    "lmeval18": 18,
    "mmlupro16": 16,
    "small9": 9,
    "frontier9": 9,
    "mixed9": 9,
    "ikp-theme41": 41,
    "med10": 10,
    "swe24": 24,
    "today": 32,
    "ja24": 24,
}

A, B, A_LETTER = System("a", "chat"), System("b", "chat"), System("a", "letter")
AT = System("a@host", "chat")  # a model name that holds the sign
SYSTEMS = (A, B, A_LETTER, AT)

FULL = """
name: trio
protocol: chat
price_date: 2024-11
cost_range_usd: 0.02
models:
  - id: a
    input_usd_per_mtok: 2.5
    output_usd_per_mtok: 10
    context_window: 128000
    modalities: [text, image]
    tools: true
    tags: [x, y]
  - id: fast b
    profile: b
    input_usd_per_mtok: 0
    output_usd_per_mtok: 0.5
    price_date: 2024-12-24
    upstream: {api_base: "https://api.example.com/v1", key_env: B_KEY, timeout_s: 7, limits: {rpm: 30}}
  - id: new
    input_usd_per_mtok: 1
    output_usd_per_mtok: 3
    allow_prior: true
"""
TRIO = Pool(
    "trio",
    (
        Candidate(ModelFacts("a", 2.5, 10.0, "2024-11", 128000, ("text", "image"), True, ("x", "y")), A),
        Candidate(
            ModelFacts("fast b", 0.0, 0.5, "2024-12-24"),
            B,
            Upstream("https://api.example.com/v1", "fast b", "B_KEY", 7.0, {"rpm": 30.0}),
        ),
        Candidate(ModelFacts("new", 1.0, 3.0, "2024-11"), None),
    ),
    0.02,
)


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: str) -> Path:
        path = tmp_path / "pool.yaml"
        path.write_text(content, encoding="utf-8")
        return path

    return _write


def pool_of(*entries: str, head: str = "") -> str:
    lines = [f"  - {{{entry}, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}" for entry in entries]
    return "\n".join(["name: p", head, "models:", *lines])


def test_a_full_file_is_read_key_by_key(write: Write) -> None:
    path = write(FULL)
    assert read_pool(path, SYSTEMS) == TRIO
    assert read_pool(str(path), SYSTEMS).ids == ("a", "fast b", "new")
    assert check_pool(path, SYSTEMS) == []


def test_a_json_file_is_read_as_the_same_pool(tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(pool_to_json(TRIO)), encoding="utf-8")
    assert read_pool(path, SYSTEMS) == TRIO
    path.write_text('{"name": "p", "name": "q", "models": []}', encoding="utf-8")
    assert any("'name' given twice in one object" in problem for problem in check_pool(path, SYSTEMS))


def test_pools_of_the_same_members_are_one_key_whoever_made_them() -> None:
    twin = Pool("trio", tuple(TRIO.candidates), 0.02)
    assert hash(twin) == hash(TRIO) and {TRIO: 1}[twin] == 1
    assert Pool("trio", (*TRIO.candidates[1:], TRIO.candidates[0]), 0.02) not in {TRIO: 1}


def test_without_systems_no_profile_is_looked_up(write: Write) -> None:
    pool = read_pool(write(pool_of("id: nobody knows", "id: a", head="protocol: unheard")), None)
    assert [candidate.system for candidate in pool.candidates] == [None, None]


def test_candidates_can_be_members_of_a_set_and_say_their_id() -> None:
    assert len(set(TRIO.candidates)) == 3
    assert TRIO.candidates[1].id == "fast b"


@pytest.mark.parametrize(
    ("entry", "head", "system"),
    [
        ("id: b", "", B),
        ("id: a", "protocol: chat", A),
        ("id: a@letter", "", A_LETTER),
        ("id: mine, profile: a@letter", "protocol: chat", A_LETTER),
        ("id: a@host", "", AT),
        ("id: mine, profile: b, allow_prior: true", "", B),
        ("id: mine, profile: gone, allow_prior: true", "", None),
        ("id: b, profile: null, allow_prior: true", "", None),
    ],
)
def test_the_profile_is_the_one_the_entry_names(write: Write, entry: str, head: str, system: System | None) -> None:
    assert read_pool(write(pool_of(entry, head=head)), SYSTEMS).candidates[0].system == system


def test_two_entries_may_share_a_profile(write: Write) -> None:
    pool = read_pool(write(pool_of("id: b", "id: b at another host, profile: b")), SYSTEMS)
    assert [candidate.system for candidate in pool.candidates] == [B, B]


def test_an_entry_without_a_profile_is_told_how_one_is_made(write: Write) -> None:
    with pytest.raises(
        PoolError, match=r"entry 1 \(new\): profile: no profile for model 'new'.* known: a, a@host, b\. "
    ):
        read_pool(write(pool_of("id: new")), SYSTEMS)
    with pytest.raises(PoolError, match=r"`router onboard new`, or retrain .*, or add allow_prior: true"):
        read_pool(write(pool_of("id: new")), SYSTEMS)


def test_allow_prior_does_not_choose_between_protocols(write: Write) -> None:
    with pytest.raises(PoolError, match=r"several protocols: write one of a@chat, a@letter, or name a pool"):
        read_pool(write(pool_of("id: a, allow_prior: true")), SYSTEMS)


def test_an_empty_profile_needs_allow_prior_even_without_systems(write: Write) -> None:
    for systems in (None, SYSTEMS):
        [problem] = check_pool(write(pool_of("id: b, profile: null")), systems)
        assert problem == "entry 1 (b): profile: is empty; name one, leave the key out, or add allow_prior: true"


def test_an_unknown_protocol_is_one_problem_not_one_per_entry(write: Write) -> None:
    problems = check_pool(write(pool_of("id: a", "id: b", "id: new", head="protocol: chatt")), SYSTEMS)
    assert problems == ["protocol: got 'chatt', under which the checkpoint has no profile; known: chat, letter"]


BROKEN = """
nmae: p
price_date: 2024
price_date: 2024-11
models:
  - id: b
    input_usd_per_mtok: -1
    output_usd_per_mtok: true
    contextwindow: 5
  - gpt
  - id: b
    input_usd_per_mtok: 1
    output_usd_per_mtok: .nan
    modalities: [smell]
    upstream: {model: m, api_key: hush, tiemout_s: 3}
  - id: new
    input_usd_per_mtok: 1
  - id: a
    profile: 5
    input_usd_per_mtok: 1
    output_usd_per_mtok: 1
    context_window: -4
    price_date: 2024-11-31
"""


def test_every_problem_is_found_at_once_each_on_one_line_with_entry_and_key(write: Write) -> None:
    starts = [
        "line 4: 'price_date' is given twice",
        "'nmae': unknown key; did you mean name?",
        "name: missing",
        "entry 1 (b): input_usd_per_mtok: got -1;",
        "entry 1 (b): output_usd_per_mtok: got True",
        "entry 1 (b): 'contextwindow': unknown key; did you mean context_window?",
        "entry 2: got 'gpt' (text); write a mapping with the keys id, profile",
        "entry 3 (b): output_usd_per_mtok: got nan",
        "entry 3 (b): modalities: got ['smell']",
        "entry 3 (b): upstream.api_key: a pool file holds no secret",
        "entry 3 (b): upstream.'tiemout_s': unknown key; did you mean timeout_s?",
        "entry 3 (b): upstream.api_base: missing",
        "entry 3 (b): id: entry 1 has it too",
        "entry 4 (new): output_usd_per_mtok: missing",
        "entry 4 (new): profile: no profile for model 'new'",
        "entry 5 (a): profile: got 5",
        "entry 5 (a): price_date: got '2024-11-31'",
        "entry 5 (a): context_window: got -4",
    ]
    problems = check_pool(write(BROKEN), SYSTEMS)
    for problem in problems:
        assert any(problem.startswith(start) for start in starts) and "\n" not in problem and "hush" not in problem
    assert len(problems) == len(starts) and all(any(p.startswith(s) for p in problems) for s in starts)


def test_reading_raises_one_error_with_all_problems(write: Write) -> None:
    path = write(BROKEN)
    with pytest.raises(PoolError, match=r"pool\.yaml: 18 problems\n") as raised:
        read_pool(path, SYSTEMS)
    assert str(raised.value).split("\n  ")[1:] == check_pool(path, SYSTEMS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got nothing; write a mapping with the keys name, protocol, "),
        ("- a\n- b\n", r"got \['a', 'b'\] \(a list\); write a mapping"),
        ("name: p\nmodels: []\n", r"models: got \[\] \(a list\); write a list of at least one model"),
        ("name: p\nmodels:\n", "models: missing; list the pool's models"),
        ("name: p\nmodels: [\n", "line 3, column 1: not YAML"),
    ],
)
def test_a_file_that_holds_no_pool_is_one_problem(write: Write, content: str, message: str) -> None:
    with pytest.raises(PoolError, match=rf"pool\.yaml: {message}"):
        read_pool(write(content), SYSTEMS)


def test_a_file_that_is_not_there_or_not_text_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"absent\.yaml: no such file; give the path"):
        read_pool(tmp_path / "absent.yaml", None)
    (tmp_path / "latin.yaml").write_bytes("name: Müller\n".encode("latin-1"))
    assert check_pool(tmp_path / "latin.yaml", None) == ["line 1: not UTF-8 (byte 7); save the file as UTF-8"]


def test_the_round_trip_through_json_is_exact() -> None:
    raw = json.loads(json.dumps(pool_to_json(TRIO), allow_nan=False))
    assert pool_from_json(raw, SYSTEMS) == TRIO
    assert pool_to_json(pool_from_json(raw, SYSTEMS)) == raw


def test_awkward_prices_survive_the_round_trip_to_the_bit() -> None:
    pool = Pool("p", (Candidate(ModelFacts("a", 0.1 + 0.2, 5e-324, None, None, ("audio",), False), A_LETTER),), 1 / 3)
    assert pool_from_json(json.loads(json.dumps(pool_to_json(pool))), SYSTEMS) == pool


def test_a_prior_stays_a_prior_though_the_checkpoint_knows_the_name() -> None:
    pool = Pool("p", (Candidate(ModelFacts("b", 1.0, 2.0), None),))
    assert pool_from_json(pool_to_json(pool), SYSTEMS) == pool


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ((), r"models: got \[\]"),
        ((Candidate(ModelFacts("a", 1.0), A),), r"pool 'p'.*entry 1 \(a\): output_usd_per_mtok: missing"),
        ((Candidate(ModelFacts("a", 1.0, float("inf")), A),), "write a finite number"),
        ((Candidate(ModelFacts("a", 1.0, 2.0, modalities=()), A),), "modalities: got"),
        ((TRIO.candidates[0], TRIO.candidates[0]), r"entry 2 \(a\): id: entry 1 has it too"),
    ],
)
def test_a_pool_that_could_not_be_read_again_is_not_written(candidates: tuple[Candidate, ...], message: str) -> None:
    with pytest.raises(PoolError, match=message):
        pool_to_json(Pool("p", candidates))


def test_a_pool_of_another_checkpoint_names_the_profile_it_misses() -> None:
    with pytest.raises(PoolError, match=r"pool 'trio': entry 2 \(fast b\): profile: no profile for model 'b@chat'"):
        pool_from_json(pool_to_json(TRIO), {A, A_LETTER})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_pool_is_in_order(path: Path) -> None:
    assert check_pool(path, None) == []
    pool = read_pool(path, None)
    assert pool.name == path.stem
    assert len(pool.candidates) == SIZES[path.stem]


def test_no_pool_is_shipped_unseen() -> None:
    assert [path.stem for path in SHIPPED] == sorted(SIZES)


def test_chat28_is_chat27_and_o1_mini() -> None:
    chat27, chat28 = (read_pool(path, None) for path in SHIPPED[:2])
    assert set(chat28.candidates) - set(chat27.candidates) == {
        Candidate(ModelFacts("o1-mini-2024-09-12", 3.0, 12.0, "2024-12", 128000, ("text",), False, ("openai",)))
    }
    assert set(chat27.candidates) <= set(chat28.candidates)


def test_ten_thousand_entries_are_checked_in_a_blink() -> None:
    systems = tuple(System(f"m{i}", "chat") for i in range(10_000))
    entries = [{"id": s.model, "input_usd_per_mtok": 1, "output_usd_per_mtok": 2} for s in systems]
    assert len(pool_from_json({"name": "p", "models": entries}, systems).candidates) == 10_000


def test_an_upstream_of_another_provider_needs_no_address_and_survives_the_round_trip(write: Write) -> None:
    upstream = "{provider: anthropic, model: c, key_env: C_KEY, retry_after_send: false, json_schema: true}"
    path = write(pool_of(f"id: b, upstream: {upstream}", head="serve: {port: 80}"))
    pool = read_pool(path, (B,))
    expected = Upstream("", "c", "C_KEY", provider="anthropic", retry_after_send=False, json_schema=True)
    assert pool.candidates[0].upstream == expected
    assert pool_from_json(pool_to_json(pool), (B,)) == pool
    assert "serve" not in pool_to_json(pool)
    plain = Upstream("http://h/v1", "c")
    assert plain.to_json() == {"api_base": "http://h/v1", "model": "c", "timeout_s": 60.0, "limits": {}}


def test_the_path_of_a_key_file_is_relative_to_the_pool_file_and_survives_the_round_trip(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(pool_of("id: b, upstream: {api_base: 'http://h/v1', key_file: keys/b}"))
    monkeypatch.chdir(path.parent)
    for found in (path, Path(path.name)):
        upstream = read_pool(found, (B,)).candidates[0].upstream
        assert upstream == Upstream("http://h/v1", "b", key_file=str(path.parent / "keys" / "b"))
    pool = read_pool(path, (B,))
    assert pool_from_json(pool_to_json(pool), (B,)) == pool
    path = write(pool_of("id: b, upstream: {api_base: 'http://h/v1', key_file: /run/keys/b}"))
    assert read_pool(path, (B,)).candidates[0].upstream == Upstream("http://h/v1", "b", key_file="/run/keys/b")


def test_an_upstream_has_its_key_in_a_file_or_a_variable_and_not_in_both(write: Write) -> None:
    [problem] = check_pool(
        write(pool_of("id: b, upstream: {api_base: 'http://h/v1', key_env: K, key_file: k/b}")), (B,)
    )
    assert problem == "entry 1 (b): upstream.key_file: key_env is there too; keep one of them"


def test_an_upstream_that_speaks_openais_protocol_needs_an_address(write: Write) -> None:
    [problem] = check_pool(write(pool_of("id: b, upstream: {model: c}")), (B,))
    assert problem.startswith("entry 1 (b): upstream.api_base: missing; write the address of the upstream, such as")
