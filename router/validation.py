"""Validation by pydantic models with this project's messages: all problems at once, one line each, no secret repeated.

A line is `where.key: got X (kind); write Y`. Knows no file and no model of its own; the only modules that import
pydantic are this one and those that define models.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from router.errors import quoted

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound="Section")

# Keys under which people paste a secret; no message repeats such a value.
SECRET_KEYS = {"api_key", "apikey", "auth", "authorization", "bearer", "key", "password", "secret", "token"}
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
_LINES = {  # by the type of pydantic's error; any other: what was got, and its message
    "bool_type": "got {shown}; write true or false",
    "dict_type": "got {shown}; write a mapping",
    "finite_number": "got {shown}; write a finite number",
    "float_type": "got {shown}; write a number, such as 0.15, without quotes or a unit",
    "greater_than": "got {value}; write a number above {gt:g}",
    "greater_than_equal": "got {value}; write {ge:g} or more",
    "int_type": "got {shown}; write a whole number",
    "less_than": "got {value}; write a number below {lt:g}",
    "less_than_equal": "got {value}; write at most {le:g}",
    "list_type": "got {shown}; write a list",
    "literal_error": "got {shown}; write {expected}",
    "missing": "missing{advice}",
    "model_type": "got {shown}; write a mapping with the keys {keys}",
    "secret": "{message}",
    "string_type": "got {shown}; write text",
    "value_error": "{error}",
}


def shown(value: object) -> str:
    """`value` and its kind for a message; often the kind is the mistake.

    >>> shown("2.5"), shown(True), shown([1, 2, 3, 4, 5, 6, 7])
    ("'2.5' (text)", 'True (true or false)', '[1, 2, 3, 4, 5, 6, ...] (a list)')
    """
    if value is None:
        return "nothing"
    return f"{quoted(value)} ({_KINDS.get(type(value), type(value).__name__)})"


class Section(BaseModel):
    """A mapping of a file or a request: no unknown key, no conversion; null is the same as a missing key.

    A required field's description is what to do when it is missing.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)
    nullable: ClassVar[frozenset[str]] = frozenset()  # keys whose null differs from a missing key
    instead_of_secret: ClassVar[str] = "no secret belongs here; leave it out"  # the answer to a key of SECRET_KEYS

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, raw: object) -> object:
        if not isinstance(raw, dict) or None not in raw.values():
            return raw
        dropped = cls.model_fields.keys() - cls.nullable
        return {key: value for key, value in raw.items() if value is not None or key not in dropped}


def read(model: type[S], raw: object, where: str | Callable[[], str], problems: list[str]) -> S:
    """The model in plain values; each problem adds a line to `problems`, which opens with `where` (or its result).

    Where there are problems, the model has only the keys of `raw` that have none, as they are, and defaults: enough to
    look for problems between keys. A required key may then be no attribute at all.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
    opening = where if isinstance(where, str) else where()
    place = opening.rstrip(".: ")
    problems += [(opening if each["loc"] else place and f"{place}: ") + _line(model, each) for each in found]
    wrong = {each["loc"][0] for each in found if each["loc"]}
    given = raw if isinstance(raw, dict) else {}
    null = {key for key, value in given.items() if value is None} - model.nullable
    good = {key: given[key] for key in model.model_fields if key in given.keys() - wrong - null}
    return model.model_construct(**good)


def check(kind: Any, value: object) -> Any:
    """A value of an annotated type, such as `Positive`; ValueError with the message alone for any other.

    >>> check(Positive, 0)
    Traceback (most recent call last):
    ValueError: got 0; write a number above 0
    """
    try:
        return TypeAdapter(kind, config=Section.model_config).validate_python(value)
    except ValidationError as error:
        raise ValueError(_line(Section, error.errors()[0])) from None


@dataclass(frozen=True)
class Says:
    """The last annotation of a type: what to write, said of every wrong value; a `secret` value is not shown.

    >>> class Door(Section):
    ...     width: Annotated[float, Field(gt=0), Says("write the width in metres")]
    >>> read(Door, {"width": "a yard"}, "door.", problems := []) and problems
    ["door.width: got 'a yard' (text); write the width in metres"]
    """

    message: str
    secret: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the annotated type, whose errors become this message."""
        return _custom(handler(source), self.message, "secret" if self.secret else "says")


@dataclass(frozen=True)
class Whole:
    """Annotation of an int: the whole numbers from `low` to `high`."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of these numbers."""
        schema = core_schema.int_schema(ge=self.low, le=self.high, strict=True)
        return _custom(schema, f"write a whole number from {self.low:,} to {self.high:,}")


def _custom(schema: CoreSchema, message: str, kind: str = "says") -> CoreSchema:
    return core_schema.custom_error_schema(schema, custom_error_type=kind, custom_error_message=message)


def tidy(value: str) -> str:
    """A text that is not empty and has no space around it and nothing unprintable in it; ValueError for another."""
    if value.strip() == value != "" and value.isprintable():
        return value
    raise ValueError


def listed(value: object) -> tuple[object, ...]:
    """The values of a list, of which each is there once; ValueError for anything else."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"got {shown(value)}; write a list, such as [openai, vision]")
    if len({*map(repr, value)}) < len(value):
        raise ValueError(f"got {shown([*value])}; name each once")
    return tuple(value)


Text = Annotated[
    str,
    AfterValidator(tidy),
    Says("write text (in quotes where YAML reads something else), no spaces around it"),
]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1), Says("write a number from 0 to 1")]
Names = Annotated[tuple[Text, ...], BeforeValidator(listed)]


def _line(model: type[Section], error: ErrorDetails) -> str:
    """`key: message`, or the message alone where the whole is no mapping."""
    kind, loc, value, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
    if kind in ("extra_forbidden", "invalid_key"):
        place, owner, _ = _place(model, loc[:-1])
        return f"{place}{place and '.'}{_unknown(value if kind == 'invalid_key' else loc[-1], owner)}"
    place, owner, advice = _place(model, loc)
    if kind == "float_type" and type(value) is int:  # too large for a float
        kind = "finite_number"
    if kind == "literal_error":
        context["expected"] = context["expected"].replace("'", "")
    words = {"value": quoted(value), "shown": shown(value), "message": error["msg"], "advice": advice and f"; {advice}"}
    words |= {"keys": ", ".join(getattr(owner, "model_fields", ()))}
    message = _LINES.get(kind, "got {shown}; {message}").format_map(context | words)
    return f"{place}{place and ': '}{message}"


def _place(model: type[Section], loc: tuple[int | str, ...]) -> tuple[str, Any, str]:
    """The place in words, its type, and the description of its field: `models[3].limits: 'rpm'`.

    An index at the end is left out, since the message shows the value.
    """
    owner: Any = model
    place = advice = index = ""
    for step in (*loc, None):
        while get_origin(owner) in (Annotated, Union, UnionType):
            owner = next(each for each in get_args(owner) if each is not NoneType)
        if step is None or step == "[key]":
            break
        if isinstance(owner, type) and issubclass(owner, BaseModel):
            place += f"{index}{place and '.'}{step}"
            field = owner.model_fields[str(step)]
            owner, advice, index = field.annotation, field.description or "", ""
        elif get_origin(owner) is dict:
            place, owner, index = f"{place}{index}: {quoted(step)}", get_args(owner)[1], ""
        else:
            owner, index = next(iter(get_args(owner)), Any), f"{index}[{step}]"
    return place, owner, advice


def _unknown(key: object, owner: type[Section]) -> str:
    name, known = str(key), owner.model_fields
    if name.lower().replace("-", "_") in SECRET_KEYS:
        return f"{name}: {owner.instead_of_secret}"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{quoted(key)}: unknown key; {meant}known: {', '.join(known)}"
