"""Training runs as one dataclass, read from their logs on this machine, W&B's server, or exported JSON.

A log (`train.runs.run_log`) holds `run.json`: configuration and last metrics, no row of data, small enough to commit.
An exported run is such a file too, `NAME.run.json`. Knows nothing of comparing or showing runs.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from router.errors import DataError, UsageError
from router.files import atomic_write
from router.installation import how_to_install

FORMAT_VERSION = 1
Values = Mapping[str, Any]
LOG, EXPORTS = "run.json", "*.run.json"
WANDB_FILES = "run-*.wandb"  # run-ID.wandb, of older versions' runs too, which wrote no other log


@dataclass(frozen=True)
class Run:
    """One training run, finished or not."""

    id: str
    name: str  # the id for a run without a name
    group: str  # empty: none
    tags: tuple[str, ...]
    state: str  # finished, failed, unfinished (running or killed), or that of W&B's server
    started: str  # ISO 8601, UTC
    config: dict[str, Any]  # by dotted name
    metrics: dict[str, float]  # last value of each, finite numbers only


def read_folders(folders: Sequence[Path]) -> list[Run]:
    """All runs below the folders, oldest first; of two copies the one in the folder named first.

    Raises UsageError for a missing folder, DataError for a file that breaks its format.
    """
    found: dict[str, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; give one of logged runs ({LOG}) or of exported runs ({EXPORTS})")
        for path in [*sorted(folder.rglob(LOG)), *sorted(folder.rglob(EXPORTS))]:
            run = read_run(path)
            found.setdefault(run.id, run)
    return sorted(found.values(), key=lambda run: (run.started, run.id))


def only_in_wandb(folders: Sequence[Path], runs: Sequence[Run]) -> list[Path]:
    """W&B's files below the folders of runs that are not among `runs`."""
    known = {run.id for run in runs}
    files = {path.stem.removeprefix("run-"): path for folder in folders for path in folder.rglob(WANDB_FILES)}
    return sorted(path for identity, path in files.items() if identity not in known)


def read_online(project: str, group: str | None = None) -> list[Run]:
    """Runs of `ENTITY/PROJECT` on W&B's server, of one group if given; UsageError where it does not list them."""
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UsageError(f"runs online need wandb: {how_to_install('train')}, or --folder") from error
    try:
        found = wandb.Api().runs(project, filters={"group": group} if group else None, lazy=False)
        return [_online_run(run) for run in found]
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise UsageError(
            f"W&B does not list {project!r} ({error}); give ENTITY/PROJECT, log in with `wandb login`, or use --folder"
        ) from error


def _online_run(run: Any) -> Run:
    """The run without W&B's internal values (names that begin with _) and without media (images, tables)."""
    summary = {
        key: value for key, value in run.summary_metrics.items() if not isinstance(value, dict) or "_type" not in value
    }
    config = {key: value for key, value in flat(run.config) if not key.startswith("_")}
    metrics = finite({key: value for key, value in flat(summary) if not key.startswith("_")})
    started = str(run.created_at)
    return Run(run.id, run.name or run.id, run.group or "", tuple(run.tags), run.state, started, config, metrics)


def finite(values: Values) -> dict[str, float]:
    """The finite numbers among `values`, by name.

    >>> finite({"b": 1, "a": 0.5, "nan": math.nan, "text": "x", "yes": True})
    {'a': 0.5, 'b': 1.0}
    """
    return {
        key: float(value)
        for key, value in sorted(values.items())
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def flat(nested: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a nested mapping; a list that holds mappings is numbered, any other is a value.

    >>> dict(flat({"model": {"dropout": 0.1}, "calls": [{"a": 1}], "folds": [0, 1]}))
    {'model.dropout': 0.1, 'calls.0.a': 1, 'folds': [0, 1]}
    """
    for key, value in nested.items():
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            value = {str(i): each for i, each in enumerate(value)}
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def export_runs(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Paths of the runs, each written into `folder` as JSON for `read_folders`; an older export is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [run.name for run in runs]
    paths = []
    for run in runs:
        stem = run.name if names.count(run.name) == 1 else f"{run.name}-{run.id}"
        paths.append(folder / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', stem)}.run.json")
        write_run(run, paths[-1])
    return paths


def write_run(run: Run, path: Path) -> None:
    """Write the run as JSON; values of its configuration that JSON does not have become text."""
    values = {"format_version": FORMAT_VERSION, **asdict(run)}
    atomic_write(path, f"{json.dumps(values, indent=1, sort_keys=True, default=str)}\n".encode())


def read_run(path: Path) -> Run:
    """The run of a log's or an exported file; DataError for any other file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.pop("format_version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not an exported run ({error!r}); write it anew: python -m train runs --export"
        ) from error
    names = {field.name for field in fields(Run)}
    if version != FORMAT_VERSION or set(values) != names:
        raise DataError(
            f"{path}: format_version {version} with {sorted(values)}; this version reads {FORMAT_VERSION} with "
            f"{sorted(names)}; write it anew: python -m train runs --export"
        )
    return Run(**{**values, "tags": tuple(values["tags"])})
