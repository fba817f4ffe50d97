"""Validation by pydantic models with this project's messages: all problems at once, one line each, no secret repeated.

A line is `where.key: got X (kind); write Y`. Knows no file and no model of its own; the only modules that import
pydantic are this one and those that define models.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import CoreSchema, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound="Section")

# Keys under which people paste a secret; no message repeats such a value.
SECRET_KEYS = {"api_key", "apikey", "auth", "authorization", "bearer", "key", "password", "secret", "token"}
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
_BOUNDS = {
    "greater_than": "write a number above {gt:g}",
    "greater_than_equal": "write {ge:g} or more",
    "less_than": "write a number below {lt:g}",
    "less_than_equal": "write at most {le:g}",
}
_WRITE = {
    "bool_type": "write true or false",
    "dict_type": "write a mapping",
    "float_type": "write a number, such as 0.15, without quotes or a unit",
    "int_type": "write a whole number",
    "list_type": "write a list",
    "string_type": "write text",
}

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


class Section(BaseModel):
    """A mapping of a file or a request: no unknown key, no conversion; null is the same as a missing key.

    A required field's description is what to do when it is missing.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)
    nullable: ClassVar[frozenset[str]] = frozenset()  # keys whose null differs from a missing key

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, raw: object) -> object:
        return _without_nulls(cls, raw) if isinstance(raw, dict) and None in raw.values() else raw


def _without_nulls(model: type[Section], raw: Mapping[Any, Any]) -> dict[Any, Any]:
    dropped = model.model_fields.keys() - model.nullable
    return {key: value for key, value in raw.items() if value is not None or key not in dropped}


def read(model: type[S], raw: object, where: str, problems: list[str]) -> S:
    """The model in plain values; each problem adds a line to `problems`, which opens with `where`.

    Where there are problems, the model has only the keys of `raw` that have none, as they are, and defaults: enough to
    look for problems between keys. A required key may then be no attribute at all.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_url=False)
    for each in found:
        place = where.rstrip(".: ")
        problems.append((where if each["loc"] else place and f"{place}: ") + _line(model, each))
    wrong = {each["loc"][0] for each in found if each["loc"]}
    given = _without_nulls(model, raw) if isinstance(raw, dict) else {}
    return model.model_construct(**{key: given[key] for key in model.model_fields.keys() - wrong if key in given})


@dataclass(frozen=True)
class Says:
    """The last annotation of a type: what to write, said of every wrong value; a `secret` value is not shown.

    >>> class Door(Section):
    ...     width: Annotated[float, Field(gt=0), Says("write the width in metres")]
    >>> read(Door, {"width": "a yard", "wdth": 1}, "door.", problems := []) and problems
    ["door.width: got 'a yard' (text); write the width in metres", \
"door.'wdth': unknown key; did you mean width? known: width"]
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


def _tidy(value: str) -> str:
    if value.strip() == value != "" and value.isprintable():
        return value
    raise ValueError


def _listed(value: object) -> tuple[object, ...]:
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError(f"got {shown(value)}; write a list, such as [openai, vision]")


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) == len(value):
        return value
    raise ValueError(f"got {shown([*value])}; name each once")


Text = Annotated[
    str,
    AfterValidator(_tidy),
    Says("write text (in quotes where YAML reads something else), no spaces around it"),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1), Says("write a number from 0 to 1")]
Names = Annotated[tuple[Text, ...], BeforeValidator(_listed), AfterValidator(_distinct)]


def _line(model: type[Section], error: ErrorDetails) -> str:
    """`key: message`, or the message alone where the whole is no mapping."""
    kind, loc, value, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
    if kind in ("extra_forbidden", "invalid_key"):
        place, owner, _ = _place(model, loc[:-1])
        return f"{place}{place and '.'}{_unknown(value if kind == 'invalid_key' else loc[-1], owner.model_fields)}"
    place, owner, advice = _place(model, loc)
    if kind == "missing":
        message = f"missing; {advice}" if advice else "missing"
    elif kind in ("value_error", "secret"):
        message = str(context["error"]) if kind == "value_error" else error["msg"]
    elif kind in _BOUNDS:
        message = f"got {quoted(value)}; {_BOUNDS[kind].format(**context)}"
    else:
        message = f"got {shown(value)}; {_advice(error, owner)}"
    return f"{place}{place and ': '}{message}"


def _advice(error: ErrorDetails, owner: Any) -> str:
    """What to write instead of a value; `owner` is the type of its place."""
    kind = error["type"]
    if kind == "model_type":
        return f"write a mapping with the keys {', '.join(owner.model_fields)}"
    if kind == "literal_error":
        return f"write {error['ctx']['expected'].replace(chr(39), '')}"
    if kind == "finite_number" or (kind == "float_type" and type(error["input"]) is int):
        return "write a finite number"
    return _WRITE.get(kind, error["msg"])


def _place(model: type[Section], loc: tuple[int | str, ...]) -> tuple[str, Any, str | None]:
    """The place in words, its type, and the description of its field: `models[3].limits: 'rpm'`.

    An index at the end is left out, since the message shows the value.
    """
    owner: Any = model
    place, advice, index = "", None, ""
    for step in loc:
        owner = _bare(owner)
        if isinstance(owner, type) and issubclass(owner, BaseModel):
            place += f"{index}{(place or index) and '.'}{step}"
            field = owner.model_fields[str(step)]
            owner, advice, index = field.annotation, field.description, ""
        elif get_origin(owner) in (dict, Mapping):
            place += f"{index}: {quoted(step)}" if step != "[key]" else ""
            owner, index = get_args(owner)[1] if step != "[key]" else owner, ""
        else:
            index += f"[{step}]"
            owner = next(iter(get_args(owner)), Any)
    return place, _bare(owner), advice


def _bare(annotation: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    return annotation


def _unknown(key: object, known: Mapping[str, Any]) -> str:
    name = str(key)
    if name.lower().replace("-", "_") in SECRET_KEYS:
        return (
            f"{name}: a pool file holds no secret; set an environment variable and name it in upstream.key_env, or "
            "name a file that holds the key in upstream.key_file"
        )
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{quoted(key)}: unknown key; {meant}known: {', '.join(known)}"
