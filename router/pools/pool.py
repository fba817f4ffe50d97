"""Pools of candidate models: one schema for YAML and JSON files and for a checkpoint's `profiles.json`.

Knows facts, systems and the address of a model; neither the network's numbers nor any key. `router.pools.schema` checks
one value. Axis: M candidates.

    name: chat27                       # required
    protocol: chat-0shot-cot           # under which model names are looked up
    price_date: 2024-11                # of the models that have none of their own
    cost_range_usd: 0.01               # scale of the cost dial; derived by the Router where absent
    models:                            # required, M entries
      - id: gpt-4o                     # required, what a decision names
        profile: gpt-4o-2024-08-06     # a model or model@protocol of the checkpoint; default the id, null for none
        input_usd_per_mtok: 2.5        # required, as is output_usd_per_mtok
        output_usd_per_mtok: 10
        price_date: 2024-11-05         # or a month
        context_window: 128000         # these four may be left out: unknown
        modalities: [text, image]
        tools: true
        tags: [openai]
        allow_prior: true              # without a profile: admit it at the prior of its price class
        upstream: {api_base: "https://api.openai.com/v1", model: gpt-4o, key_env: OPENAI_API_KEY, timeout_s: 60}
        # or instead of key_env: key_file: keys/openai, a path from the pool file's folder
    serve: {port: 8080}                # how `router serve` serves it, see router.serving.settings; not part of a Pool
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from router.errors import PoolError, UsageError, known_names
from router.pools.models import ModelFacts, System, resolve_system
from router.pools.schema import ENTRY, OPENAI, POOL, UPSTREAM, quoted, read_mapping
from router.pools.strict_yaml import read_values


@dataclass(frozen=True)
class Upstream:
    """The address of a candidate; it holds no key, only the name of the environment variable or file with the key."""

    api_base: str  # http or https, without credentials; empty: the provider's own, never for OPENAI
    model: str  # what the upstream calls the model
    key_env: str | None = None
    timeout_s: float = 60.0
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)  # name -> number above 0, read by who asks
    provider: str = OPENAI  # whose protocol it speaks; other providers by LiteLLM's name
    retry_after_send: bool = True  # whether another model may answer a request that this one may have run
    json_schema: bool | None = None  # whether answers can be held to a schema; None: unknown
    max_output_tokens: int | None = None  # the longest answer; None: unknown
    key_file: str | None = None  # instead of key_env; absolute where it was read from a pool file

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the keys of the pool schema, without unknown and default values."""
        raw = {each.name: getattr(self, each.name) for each in fields(self)} | {"limits": dict(self.limits)}
        usual = {"provider": OPENAI, "retry_after_send": True, "api_base": ""}
        return {key: value for key, value in raw.items() if value is not None and usual.get(key) != value}


@dataclass(frozen=True)
class Candidate:
    """A model that a request may go to."""

    facts: ModelFacts
    system: System | None = None  # its profile scores the model; None: the prior of its price class does
    upstream: Upstream | None = None
    revision: str = ""  # of an onboarded profile, which may be fitted anew; not written to pool files

    @property
    def id(self) -> str:
        """The name that users see and type."""
        return self.facts.id


@dataclass(frozen=True)
class Pool:
    """A named list of candidates, in the order in which the M axis runs."""

    name: str
    candidates: tuple[Candidate, ...]
    cost_range_usd: float | None = None  # scale of the cost dial; None: derived by the Router

    def __hash__(self) -> int:
        """Hash without the candidates, which may be a million: pools are the keys of caches."""
        return hash((self.name, len(self.candidates), self.cost_range_usd))

    @property
    def ids(self) -> tuple[str, ...]:
        """(M,) candidate ids."""
        return tuple(candidate.id for candidate in self.candidates)


def check_pool(path: str | Path, systems: Collection[System] | None) -> list[str]:
    """Every problem of a pool file, one line each; empty when `read_pool` would accept it. See `read_pool`."""
    return examine_pool(path, systems)[1]


def read_pool(path: str | Path, systems: Collection[System] | None) -> Pool:
    """The pool in a YAML file, its profiles looked up among `systems`, those of the checkpoint.

    Without `systems` (None) only the structure is checked and every `Candidate.system` is None. With them, an entry
    that has no profile is a problem, or with `allow_prior: true` a candidate whose system is None.

    Raises PoolError that lists every problem of the file.
    """
    pool, problems = examine_pool(path, systems)
    if pool is None:
        raise pool_error(path, problems)
    return pool


def pool_from_json(raw: object, systems: Collection[System] | None) -> Pool:
    """The pool in a JSON object of the pool schema; `systems` as in `read_pool`. Raises PoolError, all problems."""
    problems: list[str] = []
    pool = _parse(raw, systems, problems)
    if pool is None:
        name = raw.get("name") if isinstance(raw, dict) else raw
        raise pool_error(f"pool {quoted(name)}", problems)
    return pool


def pool_to_json(pool: Pool) -> dict[str, Any]:
    """A JSON object from which `pool_from_json` makes an equal pool, with at least the pool's own systems known.

    Profiles are written as model@protocol and a missing one as `profile: null`, so that later additions to a
    checkpoint do not change what an entry means. Raises PoolError for a pool that breaks the schema (no price, ...).
    """
    raw: dict[str, Any] = {"name": pool.name, "models": [_entry_to_json(each) for each in pool.candidates]}
    if pool.cost_range_usd is not None:
        raw["cost_range_usd"] = pool.cost_range_usd
    pool_from_json(raw, {each.system for each in pool.candidates if each.system})  # raises for what cannot be read
    return raw


def _entry_to_json(candidate: Candidate) -> dict[str, Any]:
    raw = candidate.facts.to_json() | {"modalities": list(candidate.facts.modalities)}
    raw |= {"profile": candidate.system.id} if candidate.system else {"profile": None, "allow_prior": True}
    return raw | ({"upstream": candidate.upstream.to_json()} if candidate.upstream else {})


def pool_error(what: str | Path, problems: list[str]) -> PoolError:
    """One error that lists every problem of a file or a pool."""
    if len(problems) == 1:
        return PoolError(f"{what}: {problems[0]}")
    return PoolError("\n  ".join([f"{what}: {len(problems)} problems", *problems]))


def examine_pool(path: str | Path, systems: Collection[System] | None) -> tuple[Pool | None, list[str]]:
    """The pool in a file, or None and every problem of it, one line each. See `read_pool`."""
    path = Path(path)
    try:
        raw, problems = read_values(path)
    except ValueError as error:
        return None, [str(error)]
    pool = _parse(raw, systems, problems)
    return (None if pool is None else _with_absolute_key_files(pool, path.parent.absolute())), problems


def _with_absolute_key_files(pool: Pool, folder: Path) -> Pool:
    """The pool with absolute paths of its key files, which are relative to `folder`."""
    candidates = tuple(
        replace(each, upstream=replace(each.upstream, key_file=str(folder / each.upstream.key_file)))
        if each.upstream and each.upstream.key_file
        else each
        for each in pool.candidates
    )
    return replace(pool, candidates=candidates)


def _parse(raw: object, systems: Collection[System] | None, problems: list[str]) -> Pool | None:
    """The pool in plain values, or None where `problems` is not empty at the end; appends to it."""
    top = read_mapping("", raw, POOL, problems)
    protocol = top.get("protocol")
    if systems is not None and protocol and all(system.protocol != protocol for system in systems):
        known = known_names(protocol, {system.protocol for system in systems})
        problems.append(f"protocol: got {protocol!r}, under which the checkpoint has no profile; {known}")
        systems = None  # one line for one mistake, not one per entry
    profiles = None if systems is None else _Profiles(systems, protocol)
    first: dict[str, int] = {}
    candidates: list[Candidate] = []
    for number, each in enumerate(top.get("models", ()), 1):
        candidate = _candidate(number, each, top.get("price_date"), profiles, problems)
        if candidate is None:
            continue
        if first.setdefault(candidate.id, number) != number:
            problems.append(
                f"entry {number} ({candidate.id}): id: entry {first[candidate.id]} has it too; every id must be "
                "unique, use `profile` to give two entries the same profile"
            )
        candidates.append(candidate)
    return None if problems else Pool(top["name"], tuple(candidates), top.get("cost_range_usd"))


def _candidate(
    number: int, raw: object, price_date: str | None, profiles: _Profiles | None, problems: list[str]
) -> Candidate | None:
    """The candidate in one entry; None where it has not even an id."""
    model_id = raw.get("id") if isinstance(raw, dict) else None
    where = f"entry {number} ({quoted(model_id)[1:-1]}): " if isinstance(model_id, str) else f"entry {number}: "
    entry = read_mapping(where, raw, ENTRY, problems)
    system = _system(f"{where}profile: ", raw, entry, profiles, problems)
    upstream = None
    if "upstream" in entry:
        upstream = _upstream(f"{where}upstream.", entry["upstream"], entry.get("id", ""), problems)
    if "id" not in entry:
        return None
    known = {each.name: entry[each.name] for each in fields(ModelFacts) if each.name in entry}
    return Candidate(ModelFacts(**({"price_date": price_date} | known)), system, upstream)


def _system(
    where: str, raw: object, entry: Mapping[str, Any], profiles: _Profiles | None, problems: list[str]
) -> System | None:
    """The system whose profile scores the entry; None for the prior, without profiles, or where a problem was added."""
    allow_prior = entry.get("allow_prior", False)
    if "profile" in entry and entry["profile"] is None:
        if not allow_prior:
            problems.append(f"{where}is empty; name one, leave the key out, or add allow_prior: true")
        return None
    name = entry.get("profile") or entry.get("id")
    misspelt = isinstance(raw, dict) and "profile" in raw and "profile" not in entry  # a problem already
    if profiles is None or name is None or misspelt:
        return None
    try:
        return profiles.find(name, allow_prior)
    except PoolError as error:
        problems.append(f"{where}{error}")
        return None


def _upstream(where: str, raw: object, model_id: str, problems: list[str]) -> Upstream | None:
    """The upstream, or None where a problem was added."""
    before = len(problems)
    given = read_mapping(where, raw, UPSTREAM, problems)
    if isinstance(raw, dict) and raw.get("api_base") is None and raw.get("provider", OPENAI) == OPENAI:
        problems.append(
            f"{where}api_base: missing; write the address of the upstream, such as https://api.example.com/v1, "
            "or name a provider that LiteLLM knows"
        )
    if "key_env" in given and "key_file" in given:
        problems.append(f"{where}key_file: key_env is there too; keep one of them")
    return Upstream(**({"model": model_id, "api_base": ""} | given)) if len(problems) == before else None


class _Profiles:
    """Index of profiles by name, since pools and checkpoints may hold many thousands."""

    def __init__(self, systems: Collection[System], protocol: str | None) -> None:
        self.systems, self.protocol = systems, protocol
        self.by_name: defaultdict[str, list[System]] = defaultdict(list)
        for system in systems:
            self.by_name[system.model].append(system)
            self.by_name[system.id].append(system)

    def find(self, name: str, allow_prior: bool) -> System | None:
        """The system called `name`; where there is none, None if `allow_prior`. Raises PoolError, also if ambiguous."""
        fitting = [s for s in self.by_name.get(name, ()) if s.id == name or self.protocol in (None, s.protocol)]
        if not fitting and allow_prior:
            return None
        try:
            return resolve_system(name, fitting or self.systems, self.protocol)
        except PoolError as error:
            if fitting:  # ambiguous: the message says what to write
                raise
            raise PoolError(
                f"{error}. Make one from graded answers with `router onboard {name}`, or retrain with its outcomes, "
                "or add allow_prior: true to admit it at the prior of its price class"
            ) from error


def changed_pool(before: Pool, add: Iterable[Candidate], remove: Iterable[str]) -> tuple[Pool, list[int]]:
    """The pool without the models named in `remove` and with those of `add` behind, and the rows it keeps.

    Raises PoolError for an unknown name, one that is there already, a model without a price, or an empty pool.
    """
    if isinstance(remove, str):
        raise UsageError(f"remove takes a list of names, got the string {remove!r}: write [{remove!r}]")
    new, gone = tuple(add), set(remove)
    if strange := sorted(gone - set(before.ids)):
        raise PoolError(f"unknown model {strange[0]!r}; {known_names(strange[0], before.ids)}")
    kept = [row for row, each in enumerate(before.candidates) if each.id not in gone]
    after = replace(before, candidates=(*(before.candidates[row] for row in kept), *new))
    if len(set(after.ids)) != len(after.candidates):
        raise PoolError("every id of a pool must be unique: a model that is added has the name of another")
    if unpriced := [each.id for each in new if not each.facts.priced]:
        raise PoolError(f"{unpriced[0]} has no price: a pool needs the prices of each model")
    if not after.candidates:
        raise PoolError(f"no model would be left in pool {before.name!r}")
    return after, kept
