"""Settings of a comparison: one YAML file, read strictly, all its problems listed at once.

Opens neither data nor pools. Paths are relative to the working directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.encoding.torch_encoder import DEFAULT_ENCODER
from router.errors import UsageError, known_names
from router.pools.schema import Field, read_mapping, shown, text
from router.pools.strict_yaml import read_yaml
from train.baselines.methods import METHODS
from train.compare.regimes import REGIMES, ROTATIONS

Seeds = dict[str, tuple[int, ...]]
FEWEST_BOOTSTRAPS = 100


@dataclass(frozen=True)
class Tuning:
    """Fine-tuning of a frozen configuration's encoder, repeated on each part's training rows."""

    config: str
    """An end-to-end training configuration."""
    share: float
    """How far, in (0, 1], the encoder's weights move from their start (`train.export.average`)."""


@dataclass(frozen=True)
class Settings:
    """One comparison."""

    name: str
    """Name in reports and of the W&B group."""
    pools: tuple[str, ...]
    """Pool files."""
    regimes: tuple[str, ...]
    """Of in-distribution, few-rows, leave-one-out, ood."""
    baselines: Seeds
    """Methods of train.baselines and the seeds of each."""
    out: str
    """Folder of predictions, fits, the Parquet, the report and the figures."""
    ours: Seeds = dataclasses.field(default_factory=dict)
    """Training configurations by path and the seeds of each; the others are tested against the first."""
    tuned: dict[str, Tuning] = dataclasses.field(default_factory=dict)
    """Configurations of `ours` whose encoder is fine-tuned first; the others use the encoder that they name."""
    data: str | None = None
    """Data folder; None: ROUTEMIX_DIR, otherwise data/routemix-open."""
    planted_queries: int | None = None
    """Write a generated data folder of so many queries to `data` first, if it is not there."""
    rotations: tuple[int, ...] = tuple(range(ROTATIONS))
    """Rotations of in-distribution and few-rows, of the five."""
    benchmarks: tuple[str, ...] = ()
    """Benchmarks of leave-one-out; none: each in turn."""
    shares: tuple[float, ...] = ()
    """Shares of the training rows, of few-rows."""
    bootstraps: int = 1000
    """Draws of the paired bootstrap."""
    encoder: str = DEFAULT_ENCODER
    """Encoder whose frozen vectors the baselines read."""
    max_tokens: int = 128
    """Length at which that encoder clips a query."""
    layers: tuple[int, ...] = ()
    """Layers of that encoder, pooled and concatenated; none: the last one."""
    cache: str = "runs/cache"
    """Folder of cached embeddings, shared by baselines and our fits."""

    @property
    def methods(self) -> Seeds:
        """All methods in the order of reports, ours first and by the stem of their file, with their seeds."""
        return {method_name(config): seeds for config, seeds in self.ours.items()} | self.baselines

    @property
    def reference(self) -> str:
        """The method that all others are tested against."""
        return next(iter(self.methods))

    def config_of(self, method: str) -> str | None:
        """The training configuration behind one of our methods; None for a baseline."""
        return next((config for config in self.ours if method_name(config) == method), None)


def method_name(config: str) -> str:
    """Name of the router that a configuration trains.

    >>> method_name("configs/routemix-frozen.yaml")
    'routemix-frozen'
    """
    return Path(config).stem


def read_settings(path: str | Path) -> Settings:
    """Settings in a YAML file. Raises UsageError that lists every problem of the file."""
    try:
        raw, problems = read_yaml(Path(path))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    values = read_mapping("", raw, SCHEMA, problems)
    problems += _problems(values)
    if problems:
        head = f"{path}: " if len(problems) == 1 else f"{path}: {len(problems)} problems\n  "
        raise UsageError(head + "\n  ".join(problems))
    return Settings(**values)


def _problems(values: dict[str, Any]) -> list[str]:
    """Problems between keys that are each valid."""
    ours, baselines, regimes = values.get("ours", {}), values.get("baselines", {}), values.get("regimes", ())
    problems = [f"ours: no file {config}; give the path of a training configuration" for config in ours
                if not Path(config).is_file()]  # fmt: skip
    names = [method_name(config) for config in ours] + list(baselines)
    problems += [f"ours, baselines: two methods are called {name!r}; rename a configuration's file"
                 for name in sorted({name for name in names if names.count(name) > 1})]  # fmt: skip
    if not names and "baselines" in values:
        problems.append("ours, baselines: nothing to compare; name a training configuration or a baseline")
    tuned = values.get("tuned", {})
    problems += [f"tuned: {config} is not among ours; name one that is" for config in tuned if config not in ours]
    problems += [f"tuned: no file {tuning.config}; give the path of a training configuration"
                 for tuning in tuned.values() if not Path(tuning.config).is_file()]  # fmt: skip
    if "few-rows" in regimes and not values.get("shares"):
        problems.append("shares: missing; regime few-rows needs shares of the training rows, such as [0.02, 0.1]")
    if "planted_queries" in values and "data" not in values:
        problems.append("data: missing; planted_queries needs the folder to write the generated world to")
    return problems


def _whole(low: int, what: str) -> Callable[[Any], int]:
    def judge(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= low:
            return value
        raise ValueError(f"got {shown(value)}; write {what}, a whole number of at least {low}")

    return judge


def _list(judge: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def judged(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError(f"got {shown(value)}; write a list in square brackets with at least one entry")
        entries = tuple(judge(each) for each in value)
        if len(set(entries)) < len(entries):
            raise ValueError(f"got {shown(value)}; an entry is given twice, keep one")
        return entries

    return judged


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def judge(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        raise ValueError(f"got {shown(value)}; {known_names(str(value), known, limit=len(known))}")

    return judge


def _seeds(judge_name: Callable[[Any], str]) -> Callable[[Any], Seeds]:
    seeds = _list(_whole(0, "a seed"))

    def judge(value: object) -> Seeds:
        if not isinstance(value, dict):
            raise ValueError(f"got {shown(value)}; write a mapping of names to lists of seeds, such as knn: [0]")
        return {judge_name(name): seeds(given) for name, given in value.items()}

    return judge


def _tuned(value: object) -> dict[str, Tuning]:
    if not isinstance(value, dict):
        raise ValueError(f"got {shown(value)}; write a mapping of configurations of ours to a config and a share")
    return {text(name): _tuning(given) for name, given in value.items()}


def _tuning(value: object) -> Tuning:
    if not isinstance(value, dict) or set(value) != {"config", "share"}:
        raise ValueError(f"got {shown(value)}; write config: PATH and share: NUMBER")
    share = value["share"]
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise ValueError(f"got {shown(share)}; a share of the tuned weights lies above 0 and is at most 1")
    return Tuning(text(value["config"]), float(share))


def _rotation(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < ROTATIONS:
        return value
    raise ValueError(f"got {shown(value)}; rotations are whole numbers from 0 to {ROTATIONS - 1}")


def _share(value: object) -> float:
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(f"got {shown(value)}; a share lies between 0 and 1")


SCHEMA = {
    "name": Field(text, "give the comparison a name"),
    "pools": Field(_list(text), "list pool files"),
    "regimes": Field(_list(_one_of(REGIMES)), f"list some of {', '.join(REGIMES)}"),
    "baselines": Field(_seeds(_one_of(tuple(METHODS))), "name baselines and their seeds; {} for none"),
    "out": Field(text, "name the folder to write to"),
    "ours": Field(_seeds(text)),
    "tuned": Field(_tuned),
    "data": Field(text),
    "planted_queries": Field(_whole(1, "how many queries")),
    "rotations": Field(_list(_rotation)),
    "benchmarks": Field(_list(text)),
    "shares": Field(_list(_share)),
    "bootstraps": Field(_whole(FEWEST_BOOTSTRAPS, "how many draws")),
    "encoder": Field(text),
    "max_tokens": Field(_whole(1, "how many tokens")),
    "layers": Field(_list(_whole(0, "a layer"))),
    "cache": Field(text),
}
