"""Pools of candidate models: what routing knows of each, pool files, and pools as JSON.

Knows facts, systems and the address of a model; neither the network's numbers nor any key. `router.pools.schema` says
what a file may say; it is imported when a file is read, since a decision from a checkpoint's pool needs no pydantic.
Axis: M candidates.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from router.errors import PoolError, UsageError, known_names, quoted
from router.pools.models import ModelFacts, System
from router.pools.prices import PriceTable
from router.pools.strict_yaml import no_garbage_collection, read_values

OPENAI = "openai"  # the default provider, whose protocol upstreams speak
RATE_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")
LIMITS = (*RATE_LIMITS, "latency_s")  # what upstream.limits may name


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


def check_pool(path: str | Path, systems: Collection[System] | None, prices: PriceTable | None = None) -> list[str]:
    """Every problem of a pool file, one line each; empty when `read_pool` would accept it. See `read_pool`."""
    return examine_pool(path, systems, prices)[1]


def read_pool(path: str | Path, systems: Collection[System] | None, prices: PriceTable | None = None) -> Pool:
    """The pool in a YAML file, its profiles looked up among `systems`, those of the checkpoint.

    Without `systems` (None) only the structure is checked and every `Candidate.system` is None. With them, an entry
    that has no profile is a problem, or with `allow_prior: true` a candidate whose system is None. What an entry does
    not state of its prices, limits and flags comes from `prices`; without a table every entry has to state its prices.

    Raises PoolError that lists every problem of the file.
    """
    pool, problems = examine_pool(path, systems, prices)
    if pool is None:
        raise pool_error(path, problems)
    return pool


def pool_from_json(raw: object, systems: Collection[System] | None) -> Pool:
    """The pool in a JSON object of the pool schema; `systems` as in `read_pool`. Raises PoolError, all problems."""
    from router.pools.schema import parse

    problems: list[str] = []
    pool = parse(raw, systems, problems)
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


def examine_pool(
    path: str | Path, systems: Collection[System] | None, prices: PriceTable | None = None
) -> tuple[Pool | None, list[str]]:
    """The pool in a file, or None and every problem of it, one line each. See `read_pool`."""
    from router.pools.schema import parse

    path = Path(path)
    with no_garbage_collection():
        try:
            raw, problems = read_values(path)
        except ValueError as error:
            return None, [str(error)]
        return parse(raw, systems, problems, path.parent.absolute(), prices), problems


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
