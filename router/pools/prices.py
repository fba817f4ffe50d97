"""Price table: what models cost and can do, on a date, looked up by any of a model's usual names.

Opens no file and knows no pool: `price_file` reads and writes tables, `price_sources` makes them of litellm's file,
`schema` fills pool entries from them.

How a name finds its row (case, and the difference between `.`, `_`, `@`, `:` and `-`, never count):

1. An effort at the end (`:high`, `:think`, one of EFFORTS) is cut off: it changes how much is bought, not the price.
2. The id of a row is that row.
3. The last part of a path is the model; the parts before it name who sells it. `openrouter` passes on the maker's
   prices and is ignored unless the table has rows of it. Where the first part is a seller in the table, only its rows
   count; further parts (`anthropic`, `meta-llama`) narrow the choice where they can.
4. Where no row has the model's name: the row without the date at the end of the name (-20250929, -2025-09-29), or the
   newest row that has the name and a date besides.
5. Of several sellers the maker's row counts (MAKERS), otherwise any, if the price is the same at all of them.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from router.errors import PoolError, known_names, quoted

FLAGS = ("tools", "vision", "json_schema", "reasoning")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "think", "nothink")
RESELLER = "openrouter"
MAKERS = {  # how names of models begin, and the seller that makes them
    **dict.fromkeys(("gpt-", "chatgpt", "o1", "o3", "o4"), "openai"),
    **dict.fromkeys(("mistral", "ministral", "magistral", "codestral", "devstral", "pixtral"), "mistral"),
    **dict.fromkeys(("qwen", "qwq"), "dashscope"),
    **dict.fromkeys(("gemini", "gemma"), "gemini"),
    **dict.fromkeys(("kimi", "moonshot"), "moonshot"),
    **{"claude": "anthropic", "deepseek": "deepseek", "grok": "xai", "glm": "zai", "minimax": "minimax"},
    **{"command": "cohere", "sonar": "perplexity", "nova": "amazon_nova", "muse": "meta"},
}
_DATE = re.compile(r"-20\d{2}-?[01]\d-?[0-3]\d$")


@dataclass(frozen=True)
class ModelPrice:
    """A row of the table; None means unknown, and False that nobody says so."""

    id: str  # seller/model
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_read_usd_per_mtok: float | None = None
    cached_write_usd_per_mtok: float | None = None
    min_cached_tokens: int | None = None
    context_window: int | None = None  # the longest prompt
    max_output_tokens: int | None = None
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    reasoning: bool = False

    @property
    def seller(self) -> str:
        """The part of the id before the first slash."""
        return self.id.partition("/")[0]


NUMBERS = tuple(each.name for each in fields(ModelPrice) if each.name not in ("id", *FLAGS))


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Rows by id, in order, with their date and source."""

    date: str  # ISO day when the prices were read
    source: str
    rows: Mapping[str, ModelPrice]

    def find(self, name: str) -> ModelPrice:
        """The row that `name` means by the rule above. PoolError with the nearest names where none or several."""
        if row := self.rows.get(name):
            return row
        spelled = spell(_without_effort(name))
        if spelled in self._by_id:
            return self._by_id[spelled]
        *path, model = spelled.split("/")
        if path and path[0] == RESELLER and RESELLER not in self._sellers:
            fitting = self._chosen(path[1:], model)
        elif path and path[0] in self._sellers:
            fitting = self._of(path[0], model)
        else:
            fitting = self._chosen(path, model)
        if not fitting:
            known = [row.id for row in self._named(model)] or self.rows
            raise PoolError(f"the price table of {self.date} has no {quoted(name)}; {known_names(name, known)}")
        if len({(row.input_usd_per_mtok, row.output_usd_per_mtok) for row in fitting}) > 1:
            ids = ", ".join([row.id for row in fitting][:10])
            raise PoolError(f"{quoted(name)} has several prices on {self.date}: write one of {ids}")
        return fitting[0]

    def seller(self, name: str) -> str | None:
        """The seller of this name, RESELLER included; None for one that the table does not know."""
        return RESELLER if name.lower() == RESELLER else self._sellers.get(spell(name))

    def seller_at(self, api_base: str) -> str | None:
        """The seller whose name is a part of an address's host; None where there is none."""
        host = api_base.partition("://")[2].partition("/")[0].partition(":")[0]
        return next(filter(None, map(self.seller, reversed(host.split(".")))), None)

    def age_days(self, today: datetime.date | None = None) -> int:
        """Days since the table's date."""
        return ((today or datetime.date.today()) - datetime.date.fromisoformat(self.date)).days

    def _chosen(self, path: list[str], model: str) -> list[ModelPrice]:
        """The rows of a model at the first part of the path that sells it, at its maker, or at all sellers."""
        makers = [maker for stem, maker in MAKERS.items() if model.startswith(stem)]
        found = (self._of(part, model) for part in (*path, *makers))
        return next(filter(None, found), None) or self._named(model)

    def _of(self, seller: str, model: str) -> list[ModelPrice]:
        known = self._sellers.get(spell(seller))
        return self._named(model, known) if known else []

    def _named(self, model: str, seller: str | None = None) -> list[ModelPrice]:
        """The rows of a model's spelled name, else of the name without its date, or the newest of those with one."""
        bare = _DATE.sub("", model)
        names = [model, bare] if bare != model else [model, *sorted(self._dated.get(bare, ()), reverse=True)]
        found = ([r for r in self._by_model.get(name, ()) if seller in (None, r.seller)] for name in names)
        return next(filter(None, found), [])

    @cached_property
    def _by_id(self) -> dict[str, ModelPrice]:
        return {spell(name): row for name, row in self.rows.items()}

    @cached_property
    def _by_model(self) -> dict[str, list[ModelPrice]]:
        found = defaultdict(list)
        for name, row in self._by_id.items():
            found[name.rpartition("/")[2]].append(row)
        return dict(found)

    @cached_property
    def _dated(self) -> dict[str, list[str]]:
        """The names with a date by those without."""
        found = defaultdict(list)
        for model in self._by_model:
            if _DATE.search(model):
                found[_DATE.sub("", model)].append(model)
        return dict(found)

    @cached_property
    def _sellers(self) -> dict[str, str]:
        """Sellers by their spelled names, with and without `-ai` at the end."""
        names = {spell(row.seller): row.seller for row in self.rows.values()}
        return {name.removesuffix("-ai"): seller for name, seller in names.items()} | names


def spell(name: str) -> str:
    """A name as it is compared: in lower case, with dashes for all other marks but the slash.

    >>> spell("anthropic/Claude_Sonnet-4.5@20250929")
    'anthropic/claude-sonnet-4-5-20250929'
    """
    return re.sub(r"[._@:]", "-", name.strip().lower())


def _without_effort(name: str) -> str:
    model, separator, effort = name.rpartition(":")
    return model if separator and effort.lower() in EFFORTS else name
