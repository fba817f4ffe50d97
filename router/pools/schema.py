"""Pool schema: pydantic models of what a pool file may say, and the pool in such plain values.

Opens no file. `router.pools.pool` imports this module when a pool is read, since pydantic takes 0.1 s to load.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from router.errors import PoolError, known_names, quoted
from router.pools.models import MODALITIES, ModelFacts, System, resolve_system
from router.pools.pool import OPENAI, Candidate, Pool, Upstream
from router.pools.price_file import warn_if_old
from router.pools.prices import ModelPrice, PriceTable
from router.validation import Names, NotNegative, Positive, Says, Section, Text, read, shown, tidy


def _day_or_month(value: str) -> str:
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", value):
        date.fromisoformat(value if len(value) == 10 else f"{value}-01")
        return value
    raise ValueError


def _modalities(value: tuple[str, ...]) -> tuple[str, ...]:
    strange = [each for each in value if each not in MODALITIES]
    if strange or not value:
        raise ValueError(f"got {shown(strange)}; write at least one of {', '.join(MODALITIES)}")
    return value


def _web_address(value: Any) -> str:
    """An http or https address with a host and without a secret; no message repeats it, since it may hold one."""
    try:
        parts = urlsplit(tidy(value))
        host = parts.hostname if parts.port != 0 else None  # reading the port checks it
    except (AttributeError, ValueError):
        raise ValueError("not an address (not shown); write one such as https://api.example.com/v1") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("has credentials, ?query or #fragment (not shown); leave them out, use key_env or key_file")
    if parts.scheme not in ("http", "https") or not host or " " in value:
        raise ValueError("not an address (not shown) that opens with http:// or https:// and names a host")
    return str(value)


Day = Annotated[str, AfterValidator(_day_or_month), Says("write a date or a month, such as 2024-11-05 or 2024-11")]
Tokens = Annotated[int, Field(gt=0), Says("write a whole number of tokens above 0, such as 128000")]
Modalities = Annotated[Names, AfterValidator(_modalities)]
Address = Annotated[str, BeforeValidator(_web_address)]
Variable = Annotated[
    str,
    Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$"),
    Says("not the name of an environment variable (not shown); write a name such as OPENAI_API_KEY", secret=True),
]
KeyPath = Annotated[
    str,
    Field(pattern="[/.]"),
    AfterValidator(tidy),
    Says("not a path with a / or a dot in it (not shown); write one such as keys/openai or ./openai", secret=True),
]


class PoolSection(Section):
    """A part of a pool file."""

    instead_of_secret: ClassVar[str] = (
        "a pool file holds no secret; set an environment variable and name it in upstream.key_env, or name a file that "
        "holds the key in upstream.key_file"
    )


class UpstreamSection(PoolSection):
    """The upstream of an entry; what is left out has the defaults of `Upstream`."""

    api_base: Address | None = None  # required of some, see `_upstream_problems`
    model: Text | None = None  # default: the entry's id
    key_env: Variable | None = None
    key_file: KeyPath | None = None  # instead of key_env; from the pool file's folder
    timeout_s: Positive | None = None
    limits: dict[Text, Positive] | None = None
    provider: Text | None = None
    retry_after_send: bool | None = None
    json_schema: bool | None = None
    max_output_tokens: Tokens | None = None


_PRICE = "write US dollars per million tokens (0 if it costs nothing)"


class Entry(PoolSection):
    """One of the models; a fact that is left out has the default of `ModelFacts`."""

    nullable: ClassVar[frozenset[str]] = frozenset({"profile"})

    id: Text = Field(description="give the entry an id")
    profile: Text | None = ""  # a model or model@protocol of the checkpoint; empty: the id; None: no profile
    input_usd_per_mtok: NotNegative = Field(description=_PRICE)
    output_usd_per_mtok: NotNegative = Field(description=_PRICE)
    price_date: Day | None = None
    context_window: Tokens | None = None
    modalities: Modalities | None = None
    tools: bool | None = None
    tags: Names | None = None
    allow_prior: bool = False  # without a profile: admit it at the prior of its price class
    upstream: UpstreamSection | None = None


class PoolFile(PoolSection):
    """A whole file; its entries are read one by one, so that a problem names the entry."""

    name: Text = Field(description="give the pool a name")
    protocol: Text | None = None  # under which model names are looked up
    price_date: Day | None = None  # of the models that have none of their own
    cost_range_usd: Positive | None = None  # scale of the cost dial; derived by the Router where absent
    models: Annotated[list[Any], Field(min_length=1), Says("write a list of at least one model")] = Field(
        description="list the pool's models"
    )
    serve: Any = None  # how `router serve` serves it, see router.serving.settings


_FACTS = frozenset(each.name for each in fields(ModelFacts))
_OPTIONAL: Any = {name: (Entry.model_fields[name].rebuild_annotation() | None, None) for name in _FACTS - {"id"}}
Facts = create_model("Facts", __base__=PoolSection, id=(Text, Entry.model_fields["id"]), **_OPTIONAL)
"""Facts of a model that need not be in a pool: as in an entry, but not every model has a price."""


def parse(
    raw: object,
    systems: Collection[System] | None,
    problems: list[str],
    folder: Path | None = None,
    prices: PriceTable | None = None,
) -> Pool | None:
    """The pool in plain values; None where `problems` is not empty at the end.

    Paths of key files are relative to `folder` and become absolute. What entries do not state comes from `prices`.
    """
    top = read(PoolFile, raw, "", problems)
    protocol = top.protocol
    if systems is not None and protocol and all(system.protocol != protocol for system in systems):
        known = known_names(protocol, {system.protocol for system in systems})
        problems.append(f"protocol: got {protocol!r}, under which the checkpoint has no profile; {known}")
        systems = None  # one line for one mistake, not one per entry
    profiles = None if systems is None else _Profiles(systems, protocol)
    first: dict[str, int] = {}
    candidates: list[Candidate] = []
    for number, each in enumerate(getattr(top, "models", ()), 1):
        where = partial(_where, number, each)
        each = each if prices is None else _filled(each, prices, where, problems)
        entry = read(Entry, each, where, problems)
        given = each if isinstance(each, dict) else {}
        problems += [f"{where()}upstream.{problem}" for problem in _upstream_problems(given.get("upstream"))]
        system = None
        if entry.profile or given.get("profile") is None:  # otherwise a problem already
            try:
                system = _system(entry, profiles)
            except PoolError as error:
                problems.append(f"{where()}profile: {error}")
        if "id" in entry.model_fields_set and first.setdefault(entry.id, number) != number:
            problems.append(
                f"{where()}id: entry {first[entry.id]} has it too; every id must be unique, use `profile` to give two "
                "entries the same profile"
            )
        if not problems:
            candidates.append(_candidate(entry, system, top.price_date, folder))
    return None if problems else Pool(top.name, tuple(candidates), top.cost_range_usd)


def _where(number: int, raw: object) -> str:
    """The opening of a line on an entry."""
    model_id = raw.get("id") if isinstance(raw, dict) else None
    return f"entry {number} ({quoted(model_id)[1:-1]}): " if isinstance(model_id, str) else f"entry {number}: "


def _filled(entry: Any, prices: PriceTable, where: Callable[[], str], problems: list[str]) -> Any:
    """An entry with what it does not state taken from the table: prices and their date, limits, flags.

    Malformed parts stay. Prices are taken as a pair; where the entry states none, and the table has none or several,
    that is a problem, and the prices are 0.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return entry
    unpriced = all(entry.get(name) is None for name in ("input_usd_per_mtok", "output_usd_per_mtok"))
    upstream = entry.get("upstream") if isinstance(entry.get("upstream"), dict) else None
    try:
        row = _row(entry["id"], upstream or {}, prices)
    except PoolError as error:
        if not unpriced:
            return entry
        problems.append(f"{where()}input_usd_per_mtok and output_usd_per_mtok: missing; {_PRICE}; {error}")
        return entry | {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}
    result: dict[str, Any] = _added(
        entry,
        context_window=row.context_window,
        tools=row.tools or None,
        modalities=["text", "image"] if row.vision else None,
    )
    if unpriced:
        warn_if_old(prices)
        result |= {name: getattr(row, name) for name in ("input_usd_per_mtok", "output_usd_per_mtok")}
        result["price_date"] = prices.date
    if upstream is not None:
        limits = {"json_schema": row.json_schema or None, "max_output_tokens": row.max_output_tokens}
        result["upstream"] = _added(upstream, **limits)
    return result


def _added(given: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {**given, **{name: value for name, value in facts.items() if value is not None and given.get(name) is None}}


def _row(model_id: str, upstream: Mapping[str, Any], prices: PriceTable) -> ModelPrice:
    """The row of an entry, by its upstream's name for the model, otherwise by its id, at the upstream's seller."""
    provider, base, model = (upstream.get(key) for key in ("provider", "api_base", "model"))
    if isinstance(provider, str) and provider != OPENAI:
        seller = prices.seller(provider)
        if seller is None:
            raise PoolError(f"the price table of {prices.date} has no model of provider {provider!r}")
    else:
        seller = prices.seller_at(str(base))
    names = [f"{seller}/{name}" if seller else name for name in (model, model_id) if isinstance(name, str)]
    try:
        return prices.find(names[0])
    except PoolError:
        if len(names) == 1:
            raise
        return prices.find(names[1])


def _candidate(entry: Entry, system: System | None, price_date: str | None, folder: Path | None) -> Candidate:
    facts = {name: value for name, value in vars(entry).items() if value is not None and name in _FACTS}
    upstream = None
    if entry.upstream is not None:
        given = {name: value for name, value in vars(entry.upstream).items() if value is not None}
        if folder is not None and "key_file" in given:
            given["key_file"] = str(folder / given["key_file"])
        upstream = Upstream(**{"model": entry.id, "api_base": ""} | given)
    return Candidate(ModelFacts(**{"price_date": price_date} | facts), system, upstream)


def _upstream_problems(raw: object) -> Iterator[str]:
    """Problems between the keys of an upstream."""
    if not isinstance(raw, dict):
        return
    if raw.get("api_base") is None and raw.get("provider") in (None, OPENAI):
        yield (
            "api_base: missing; write the address of the upstream, such as https://api.example.com/v1, "
            "or name a provider that LiteLLM knows"
        )
    if raw.get("key_env") is not None and raw.get("key_file") is not None:
        yield "key_file: key_env is there too; keep one of them"


def _system(entry: Entry, profiles: _Profiles | None) -> System | None:
    """The system whose profile scores the entry; None for the prior or without profiles. Raises PoolError."""
    if entry.profile is None:
        if not entry.allow_prior:
            raise PoolError("is empty; name one, leave the key out, or add allow_prior: true")
        return None
    name = entry.profile or getattr(entry, "id", "")
    return profiles.find(name, entry.allow_prior) if profiles is not None and name else None


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
