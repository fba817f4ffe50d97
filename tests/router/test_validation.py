"""Plain values to pydantic models: every problem at once, one line each, and no secret in any of them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from router.validation import Names, NotNegative, Positive, Says, Section, Share, Text, Whole, read


class Limit(Section):
    per_minute: Positive
    key: Annotated[str, Field(pattern="^[A-Z]+$"), Says("not the name of a variable (not shown)", secret=True)] = "KEY"


class Shop(Section):
    nullable: ClassVar[frozenset[str]] = frozenset({"motto"})

    name: Text = Field(description="give the shop a name")
    price: NotNegative = Field(description="write US dollars")
    motto: Text | None = "none"
    port: Annotated[int, Whole(0, 65535)] = 8080
    open: bool = True
    share: Share = 0.5
    tags: Names = ()
    when: Literal["always", "drop", "never"] = "always"
    limits: dict[str, Positive] = Field(default={})
    limit: Limit | None = None
    branches: list[Limit] = Field(default=[])
    by_name: dict[str, list[Limit]] = Field(default={})


GOOD = {"name": "s", "price": 1}


def problems_of(raw: object, where: str = "shop: ") -> list[str]:
    problems: list[str] = []
    read(Shop, raw, where, problems)
    return problems


def test_good_values_come_back_in_their_final_types() -> None:
    problems: list[str] = []
    raw = GOOD | {"tags": ["x", "y"], "limits": {"rpm": 3}, "branches": [{"per_minute": 2}], "port": None}
    shop = read(Shop, raw, "", problems)
    assert problems == []
    assert (shop.tags, shop.limits, shop.branches[0].per_minute, shop.port) == (("x", "y"), {"rpm": 3.0}, 2.0, 8080)
    assert isinstance(shop.price, float)


def test_null_leaves_a_key_out_but_for_those_that_may_be_null() -> None:
    shop = read(Shop, GOOD | {"motto": None, "open": None}, "", [])
    assert (shop.motto, shop.open) == (None, True)
    assert problems_of(GOOD | {"name": None, "zzz": None}) == [
        "shop: name: missing; give the shop a name",
        "shop: 'zzz': unknown key; known: " + ", ".join(Shop.model_fields),
    ]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("name", " s", "name: got ' s' (text); write text (in quotes where YAML reads something else), no spaces"),
        ("price", -1, "price: got -1; write 0 or more"),
        ("price", True, "price: got True (true or false); write a number, such as 0.15"),
        ("price", float("nan"), "price: got nan (a number); write a finite number"),
        ("price", 10**400, "write a finite number"),
        ("port", 8080.0, "port: got 8080.0 (a number); write a whole number from 0 to 65,535"),
        ("port", -1, "port: got -1 (a number); write a whole number from 0 to 65,535"),
        ("open", 1, "open: got 1 (a number); write true or false"),
        ("share", float("inf"), "share: got inf (a number); write a number from 0 to 1"),
        ("tags", "x", "tags: got 'x' (text); write a list"),
        ("tags", ["x", 3], "tags: got 3 (a number); write text"),
        ("tags", ["x", "x"], "tags: got ['x', 'x'] (a list); name each once"),
        ("when", 3, "when: got 3 (a number); write always, drop or never"),
        ("limits", {"rpm": 0}, "limits: 'rpm': got 0; write a number above 0"),
        ("limits", {3: 1}, "limits: 3: got 3 (a number); write text"),
        ("limit", "x", "limit: got 'x' (text); write a mapping with the keys per_minute, key"),
        ("limit", {}, "limit.per_minute: missing"),
        ("limit", {"per_minutes": 1, "per_minute": 1}, "limit.'per_minutes': unknown key; did you mean per_minute?"),
        ("branches", [{"per_minute": 1}, {"per_minute": 0}], "branches[1].per_minute: got 0; write a number above 0"),
        ("branches", ["x"], "branches: got 'x' (text); write a mapping with the keys per_minute, key"),
        ("by_name", {"a": [{"per_minute": 0}]}, "by_name: 'a'[0].per_minute: got 0; write a number above 0"),
        ("names", 1, "'names': unknown key; did you mean name? known: name, price"),
        (5, 1, "5: unknown key; known: name, price"),
        (("a", 1), 1, "('a', 1): unknown key; known: name, price"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place(key: Any, value: object, line: str) -> None:
    [problem] = problems_of(GOOD | {key: value})
    assert problem.startswith("shop: ") and line in problem and "\n" not in problem


@pytest.mark.parametrize("raw", [{"limit": {"per_minute": 1, "key": "hush"}}, {"api_key": "hush"}, {"Token": "hush"}])
def test_a_value_that_may_be_a_secret_is_not_repeated(raw: dict[str, Any]) -> None:
    [problem] = problems_of(GOOD | raw)
    assert "hush" not in problem
    with pytest.raises(ValueError) as raised:
        Shop.model_validate(GOOD | raw)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("raw", ["gpt", None, ["a"]])
def test_what_is_no_mapping_is_one_line_with_the_keys(raw: object) -> None:
    [problem] = problems_of(raw)
    assert problem.startswith("shop: got ") and "; write a mapping with the keys name, price, " in problem
    assert problems_of(raw, "")[0].startswith("got ")


def test_with_problems_the_good_keys_are_there_to_look_further() -> None:
    problems: list[str] = []
    shop = read(Shop, {"name": "s", "port": "x", "limits": {"rpm": 0}, "when": "never", "open": None}, "", problems)
    assert len(problems) == 3
    assert (shop.name, shop.port, shop.limits, shop.when, shop.open, hasattr(shop, "price")) == (
        "s",
        8080,
        {},
        "never",
        True,
        False,
    )
    assert read(Shop, 5, "", []).port == 8080
