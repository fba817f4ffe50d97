"""Pool schema: the keys of a pool file, each with a check of its value, so that all problems are found at once.

Takes plain values (of YAML or JSON); knows no files, no pool (`router.pools.pool`) and no checkpoint. A check returns
the value in its final type, or raises ValueError that says what was got and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from router.pools.models import MODALITIES

# Keys under which people paste a secret; no message repeats such a value.
SECRET_KEYS = {"api_key", "apikey", "auth", "authorization", "bearer", "key", "password", "secret", "token"}
OPENAI = "openai"  # the default provider, whose protocol upstreams speak
RATE_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")
LIMITS = (*RATE_LIMITS, "latency_s")  # what upstream.limits may name
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
quoted = _SHORT.repr  # one line, shortened


def shown(value: object) -> str:
    """`value` and its kind for a message; often the kind is the mistake.

    >>> shown("2.5"), shown(True), shown([1, 2, 3, 4, 5, 6, 7])
    ("'2.5' (text)", 'True (true or false)', '[1, 2, 3, 4, 5, 6, ...] (a list)')
    """
    if value is None:
        return "nothing"
    return f"{quoted(value)} ({_KINDS.get(type(value), type(value).__name__)})"


@dataclass(frozen=True)
class Field:
    """The check of one key's value."""

    check: Callable[[Any], Any]
    required: str = ""  # what to do when it is missing; empty: it may be missing
    nullable: bool = False  # whether null differs from a missing key


def read_mapping(where: str, raw: object, schema: Mapping[str, Field], problems: list[str]) -> dict[str, Any]:
    """The checked values of `raw`'s good keys; every other key adds a line to `problems`, which opens with `where`."""
    if not isinstance(raw, dict):
        place = where.rstrip(".: ")
        problems.append(f"{place}{': ' if place else ''}got {shown(raw)}; write a mapping with {_keys(schema)}")
        return {}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        field = schema.get(key) if isinstance(key, str) else None
        if field is None:
            problems.append(f"{where}{_unknown(key, schema)}")
        elif value is not None or field.nullable:
            try:
                values[key] = field.check(value)
            except ValueError as error:
                problems.append(f"{where}{key}: {error}")
    for key, field in schema.items():
        if field.required and raw.get(key) is None:
            problems.append(f"{where}{key}: missing; {field.required}")
    return values


def _keys(schema: Mapping[str, Field]) -> str:
    return f"the keys {', '.join(schema)}"


def _unknown(key: object, schema: Mapping[str, Field]) -> str:
    name = str(key)
    if name.lower().replace("-", "_") in SECRET_KEYS:
        return (
            f"{name}: a pool file holds no secret; set an environment variable and name it in upstream.key_env, or "
            "name a file that holds the key in upstream.key_file"
        )
    close = difflib.get_close_matches(name, schema, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{quoted(key)}: unknown key; {meant}known: {', '.join(schema)}"


def text(value: object) -> str:
    """A non-empty printable string."""
    if isinstance(value, str) and value.strip() == value != "" and value.isprintable():
        return value
    raise ValueError(f"got {shown(value)}; write text (in quotes where YAML reads something else), no spaces around it")


def flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"got {shown(value)}; write true or false")


def not_negative(value: object) -> float:
    """A finite number from 0."""
    number = _number(value)
    if number >= 0:
        return number
    raise ValueError(f"got {value}; write 0 or more")


def positive(value: object) -> float:
    """A finite number above 0."""
    number = _number(value)
    if number > 0:
        return number
    raise ValueError(f"got {value}; write a number above 0")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"got {shown(value)}; write a number, such as 0.15, without quotes or a unit")
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise ValueError(f"got {shown(value)}; write a finite number")


def tokens(value: object) -> int:
    """A whole number above 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"got {shown(value)}; write a whole number of tokens above 0, such as 128000")


def day_or_month(value: object) -> str:
    """An ISO date or month.

    >>> day_or_month("2024-11"), day_or_month("2024-11-05")
    ('2024-11', '2024-11-05')
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", value):
        try:
            date.fromisoformat(value if len(value) == 10 else f"{value}-01")
            return value
        except ValueError:
            pass
    raise ValueError(f"got {shown(value)}; write a date or a month, such as 2024-11-05 or 2024-11")


def names(value: object) -> tuple[str, ...]:
    """A list of different texts."""
    if not isinstance(value, list):
        raise ValueError(f"got {shown(value)}; write a list, such as [openai, vision]")
    found = tuple(text(each) for each in value)
    if len(set(found)) != len(found):
        raise ValueError(f"got {shown(value)}; name each once")
    return found


def modalities(value: object) -> tuple[str, ...]:
    """A non-empty list of names from MODALITIES."""
    found = names(value)
    strange = [each for each in found if each not in MODALITIES]
    if strange or not found:
        raise ValueError(f"got {shown(strange or value)}; write at least one of {', '.join(MODALITIES)}")
    return found


def entries(value: object) -> list[Any]:
    """A list with something in it."""
    if isinstance(value, list) and value:
        return value
    raise ValueError(f"got {shown(value)}; write a list of at least one model")


def web_address(value: object) -> str:
    """An http or https address with a host and without a secret; no message repeats it, since it may hold one."""
    try:
        parts = urlsplit(text(value))
        host = parts.hostname if parts.port != 0 else None  # reading the port checks it
    except ValueError:
        raise ValueError("not an address (not shown); write one such as https://api.example.com/v1") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("has credentials, ?query or #fragment (not shown); leave them out, use key_env or key_file")
    if parts.scheme not in ("http", "https") or not host or " " in str(value):
        raise ValueError("not an address (not shown) that opens with http:// or https:// and names a host")
    return str(value)


def variable(value: object) -> str:
    """The name of an environment variable; no message repeats the value, which may be a key pasted by mistake."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        return value
    raise ValueError("not the name of an environment variable (not shown); write a name such as OPENAI_API_KEY")


def key_path(value: object) -> str:
    """A path with a slash or a dot in it; no message repeats the value, which may be a key pasted by mistake.

    >>> key_path("keys/openai"), key_path("openai.key")
    ('keys/openai', 'openai.key')
    """
    if isinstance(value, str) and value.strip() == value and value.isprintable() and ("/" in value or "." in value):
        return value
    raise ValueError("not a path with a / or a dot in it (not shown); write one such as keys/openai or ./openai")


def limits(value: object) -> dict[str, float]:
    """A mapping of names to numbers above 0."""
    if not isinstance(value, dict):
        raise ValueError(f"got {shown(value)}; write a mapping, such as {{requests_per_minute: 500}}")
    found = {}
    for name, number in value.items():
        try:
            found[text(name)] = positive(number)
        except ValueError as error:
            raise ValueError(f"{quoted(name)}: {error}") from None
    return found


def anything(value: object) -> object:
    """The value itself; another `read_mapping` checks what is in it."""
    return value


def text_or_none(value: object) -> str | None:
    """As `text`, and None for null."""
    return None if value is None else text(value)


_PRICE = "write US dollars per million tokens (0 if it costs nothing)"
POOL = {
    "name": Field(text, required="give the pool a name"),
    "protocol": Field(text),
    "price_date": Field(day_or_month),
    "cost_range_usd": Field(positive),
    "models": Field(entries, required="list the pool's models"),
    "serve": Field(anything),  # checked by router.serving.settings
}
ENTRY = {
    "id": Field(text, required="give the entry an id"),
    "profile": Field(text_or_none, nullable=True),
    "input_usd_per_mtok": Field(not_negative, required=_PRICE),
    "output_usd_per_mtok": Field(not_negative, required=_PRICE),
    "price_date": Field(day_or_month),
    "context_window": Field(tokens),
    "modalities": Field(modalities),
    "tools": Field(flag),
    "tags": Field(names),
    "allow_prior": Field(flag),
    "upstream": Field(anything),
}
UPSTREAM = {
    "api_base": Field(web_address),  # required of some, see router.pools.pool
    "model": Field(text),
    "key_env": Field(variable),
    "key_file": Field(key_path),  # not beside key_env, see router.pools.pool
    "timeout_s": Field(positive),
    "limits": Field(limits),
    "provider": Field(text),
    "retry_after_send": Field(flag),
    "json_schema": Field(flag),
    "max_output_tokens": Field(tokens),
}
