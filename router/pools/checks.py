"""Checks of plain values without pydantic, for what is not a model yet: requests, and settings of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from router.validation import NotNegative, Text, _unknown, check, shown


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
        problems.append(
            f"{place}{': ' if place else ''}got {shown(raw)}; write a mapping with the keys {', '.join(schema)}"
        )
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


text = partial(check, Text)
flag = partial(check, bool)
not_negative = partial(check, NotNegative)
