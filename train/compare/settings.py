"""Settings of a comparison: one YAML file, read strictly, all its problems listed at once.

Opens neither data nor pools. Paths are relative to the working directory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from router.encoding.torch_encoder import DEFAULT_ENCODER
from router.errors import UsageError, known_names
from router.pools.strict_yaml import read_yaml
from router.validation import Says, Section, Text, read, shown
from train.baselines.methods import METHODS
from train.compare.regimes import REGIMES, ROTATIONS


def _entries(value: object) -> tuple[object, ...]:
    if isinstance(value, list | tuple) and value:
        return tuple(value)
    raise ValueError(f"got {shown(value)}; write a list in square brackets with at least one entry")


def _distinct(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(entries)) < len(entries):
        raise ValueError(f"got {shown([*entries])}; an entry is given twice, keep one")
    return entries


def _mapping(what: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"got {shown(value)}; write a mapping of {what}")
        return value

    return check


def _tuning(value: object) -> object:
    if isinstance(value, dict) and set(value) == {"config", "share"}:
        return value
    raise ValueError(f"got {shown(value)}; write config: PATH and share: NUMBER")


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"got {shown(value)}; {known_names(value, known, limit=len(known))}")
        return value

    return check


def _known_baselines(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        _one_of(tuple(METHODS))(name)
    return value


LIST, DISTINCT = BeforeValidator(_entries), AfterValidator(_distinct)
Names = Annotated[tuple[Text, ...], LIST, DISTINCT]
Regime = Annotated[str, AfterValidator(_one_of(REGIMES))]
Seed = Annotated[int, Field(ge=0), Says("write a seed, a whole number of at least 0")]
Seeds = Annotated[
    dict[Text, Annotated[tuple[Seed, ...], LIST, DISTINCT]],
    BeforeValidator(_mapping("names to lists of seeds, such as knn: [0]")),
]
Rotation = Annotated[int, Field(ge=0, lt=ROTATIONS), Says(f"rotations are whole numbers from 0 to {ROTATIONS - 1}")]
Fold = Annotated[int, Field(ge=0, lt=10), Says("folds are whole numbers from 0 to 9")]
Share = Annotated[float, Field(gt=0, lt=1), Says("a share lies between 0 and 1")]
Queries = Annotated[int, Field(ge=1), Says("write how many queries, a whole number of at least 1")]
Draws = Annotated[int, Field(ge=100), Says("write how many draws, a whole number of at least 100")]
Tokens = Annotated[int, Field(ge=1), Says("write how many tokens, a whole number of at least 1")]
Layer = Annotated[int, Field(ge=0), Says("write a layer, a whole number of at least 0")]


class Tuning(Section):
    """Fine-tuning of a frozen configuration's encoder, repeated on each part's training rows."""

    config: Text
    """An end-to-end training configuration."""
    share: Annotated[
        float, Field(gt=0, le=1), Says("write a share of the tuned weights, which lies above 0 and is at most 1")
    ]
    """How far, in (0, 1], the encoder's weights move from their start (`train.export.average`)."""


class Settings(Section):
    """One comparison."""

    name: Text = Field(description="give the comparison a name")
    """Name in reports and of the W&B group."""
    pools: Names = Field(description="list pool files")
    """Pool files."""
    regimes: Annotated[tuple[Regime, ...], LIST, DISTINCT] = Field(description=f"list some of {', '.join(REGIMES)}")
    """Of in-distribution, few-rows, leave-one-out, ood."""
    baselines: Annotated[Seeds, BeforeValidator(_known_baselines)] = Field(
        description="name baselines and their seeds; {} for none"
    )
    """Methods of train.baselines and the seeds of each."""
    out: Text = Field(description="name the folder to write to")
    """Folder of predictions, fits, the Parquet, the report and the figures."""
    ours: Seeds = Field(default_factory=dict)
    """Training configurations by path and the seeds of each; the others are tested against the first."""
    tuned: Annotated[
        dict[Text, Annotated[Tuning, BeforeValidator(_tuning)]],
        BeforeValidator(_mapping("configurations of ours to a config and a share")),
    ] = Field(default_factory=dict)
    """Configurations of `ours` whose encoder is fine-tuned first; the others use the encoder that they name."""
    data: Text | None = None
    """Data folder; None: ROUTEMIX_DIR, otherwise data/routemix-open."""
    planted_queries: Queries | None = None
    """Write a generated data folder of so many queries to `data` first, if it is not there."""
    rotations: Annotated[tuple[Rotation, ...], LIST, DISTINCT] = tuple(range(ROTATIONS))
    """Rotations of in-distribution and few-rows, of the five."""
    benchmarks: Names = ()
    """Benchmarks of leave-one-out, or first words of several, such as med of med-medqa; none: each in turn."""
    judged_folds: Annotated[tuple[Fold, ...], LIST, DISTINCT] = tuple(range(10))
    """Folds of a left-out benchmark on which leave-one-out judges."""
    shares: Annotated[tuple[Share, ...], LIST, DISTINCT] = ()
    """Shares of the training rows, of few-rows."""
    bootstraps: Draws = 1000
    """Draws of the paired bootstrap."""
    encoder: Text = DEFAULT_ENCODER
    """Encoder whose frozen vectors the baselines read."""
    max_tokens: Tokens = 128
    """Tokens of a query that this encoder reads."""
    layers: Annotated[tuple[Layer, ...], LIST, DISTINCT] = ()
    """Layers of that encoder, pooled and concatenated; none: the last one."""
    cache: Text = "runs/cache"
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
    settings = read(Settings, raw, "", problems)
    problems += _problems(settings.model_dump(warnings=False))
    if problems:
        head = f"{path}: " if len(problems) == 1 else f"{path}: {len(problems)} problems\n  "
        raise UsageError(head + "\n  ".join(problems))
    return settings


def _problems(values: dict[str, Any]) -> list[str]:
    """Problems between keys that are each valid."""
    ours, tuned, baselines = values["ours"], values["tuned"], values.get("baselines", {})
    problems = [f"ours: no file {config}; give the path of a training configuration" for config in ours
                if not Path(config).is_file()]  # fmt: skip
    names = [method_name(config) for config in ours] + list(baselines)
    problems += [f"ours, baselines: two methods are called {name!r}; rename a configuration's file"
                 for name in sorted({name for name in names if names.count(name) > 1})]  # fmt: skip
    if not names and "baselines" in values:
        problems.append("ours, baselines: nothing to compare; name a training configuration or a baseline")
    problems += [f"tuned: {config} is not among ours; name one that is" for config in tuned if config not in ours]
    problems += [f"tuned: no file {tuning['config']}; give the path of a training configuration"
                 for tuning in tuned.values() if not Path(tuning["config"]).is_file()]  # fmt: skip
    if "few-rows" in values.get("regimes", ()) and not values["shares"]:
        problems.append("shares: missing; regime few-rows needs shares of the training rows, such as [0.02, 0.1]")
    if values["planted_queries"] and not values["data"]:
        problems.append("data: missing; planted_queries needs the folder to write the generated world to")
    return problems
