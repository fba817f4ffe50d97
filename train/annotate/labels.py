"""Labels of a query, read strictly from an annotator's JSON: capabilities from a closed list, knowledge domains.

Domains are open-ended or from a given list. The annotator sees the error messages and repairs its labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.network.taxonomy import CAPABILITIES

MOST_LABELS = 3
MOST_CHARS = 60  # of a domain's name
# Letters of any script, digits, and the signs that join names of subjects; no line end, no bracket of a prompt.
NAME = re.compile(r"[^\W_][\w &/,.'()+#:\u2019-]*", re.UNICODE)
SPELLINGS = {re.sub(r"[^a-z]", "", name): name for name in CAPABILITIES}


@dataclass(frozen=True)
class Labels:
    """Ranked labels, the most important first, 1 to MOST_LABELS of each kind."""

    capabilities: tuple[str, ...]
    knowledge: tuple[str, ...]


def read_labels(found: Mapping[str, Any], domains: Sequence[str] | None = None) -> Labels:
    """The labels in a JSON object; ValueError says what to repair. `domains`: the names allowed, None for any.

    Case, spaces and hyphens do not matter; labels beyond MOST_LABELS are cut.

    >>> read_labels({"capabilities": ["Coding", "in context learning"], "knowledge": ["Sorting"]}).capabilities
    ('coding', 'in-context learning')
    """
    capabilities = [_capability(name) for name in _names(found, "capabilities")]
    known = None if domains is None else {name.casefold(): name for name in domains}
    return Labels(_first(capabilities), _first([_domain(name, known) for name in _names(found, "knowledge")]))


def _names(found: Mapping[str, Any], key: str) -> list[str]:
    names = found.get(key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key} must be a list of 1 to {MOST_LABELS} names, the most important first")
    return names[: 4 * MOST_LABELS]


def _capability(name: str) -> str:
    known = SPELLINGS.get(re.sub(r"[^a-z]", "", name.lower()))
    if known is None:
        raise ValueError(f"{name[:40]!r} is no capability; the capabilities are {', '.join(CAPABILITIES)}")
    return known


def _domain(name: str, known: Mapping[str, str] | None) -> str:
    name = " ".join(name.split())
    if known is not None:
        if name.casefold() not in known:
            raise ValueError(f"{name[:40]!r} is no domain of the list")
        return known[name.casefold()]
    if not NAME.fullmatch(name) or len(name) > MOST_CHARS:
        raise ValueError(f"{name[:40]!r} is no name of a knowledge domain: a few words, such as Organic Chemistry")
    return name


def _first(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:MOST_LABELS]
