"""Training runs as one dataclass, wherever they are kept: W&B's files on this machine, its server, or exported JSON.

An exported run is `NAME.run.json`: configuration and last metrics, no row of data, small enough to be committed. Knows
nothing of how runs are compared or shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from router.errors import DataError, UsageError
from router.files import atomic_write
from router.installation import how_to_install
from train.runs.wandb_file import apply_update, records

FORMAT_VERSION = 1
Values = Mapping[str, Any]
LOGS, EXPORTS = "run-*.wandb", "*.run.json"


@dataclass(frozen=True)
class Run:
    """One training run as it ended, or as far as it got."""

    id: str
    name: str  # the id where none was given
    group: str  # empty: none
    tags: tuple[str, ...]
    state: str  # finished, failed, unfinished (running or killed), or W&B's own word
    started: str  # ISO 8601, UTC
    config: dict[str, Any]  # by dotted name
    metrics: dict[str, float]  # last value of each, finite numbers only


def read_folders(folders: Sequence[Path]) -> list[Run]:
    """All runs below the folders, oldest first; one that is found twice counts once, as in the folder named first.

    Raises UsageError for a folder that is not there, DataError for a file that breaks its format.
    """
    found: dict[str, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; give one of W&B runs ({LOGS}) or of exported runs ({EXPORTS})")
        for path in sorted(folder.rglob(LOGS)):
            if (run := read_log(path)) is not None:
                found.setdefault(run.id, run)
        for path in sorted(folder.rglob(EXPORTS)):
            run = read_export(path)
            found.setdefault(run.id, run)
    return sorted(found.values(), key=lambda run: (run.started, run.id))


def read_log(path: Path) -> Run | None:
    """The run of a W&B transaction log; None where it was killed before it wrote what it is."""
    about: Any = None
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    state = "unfinished"
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = record.run
            apply_update(config, about.config)
        elif kind == "config":
            apply_update(config, record.config)
        elif kind == "summary":
            apply_update(summary, record.summary)
        elif kind == "exit":
            state = "failed" if record.exit.exit_code else "finished"
    if about is None:
        return None
    started = about.start_time.ToDatetime().isoformat(timespec="seconds") + "Z"
    return _run(about.run_id, about.display_name, about.run_group, about.tags, state, started, config, summary)


def read_online(project: str, group: str | None = None) -> list[Run]:
    """Runs of `ENTITY/PROJECT` on W&B's server, those of one group if given; UsageError where it does not answer so."""
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UsageError(f"runs online need wandb: {how_to_install('train')}, or --folder") from error
    try:
        found = wandb.Api().runs(project, filters={"group": group} if group else None, lazy=False)
        return [
            _run(r.id, r.name, r.group, r.tags, r.state, str(r.created_at), dict(r.config), dict(r.summary_metrics))
            for r in found
        ]
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise UsageError(
            f"W&B does not list {project!r} ({error}); give ENTITY/PROJECT, log in with `wandb login`, or use --folder"
        ) from error


def _run(
    id: str,
    name: str,
    group: str | None,
    tags: Iterable[str],
    state: str,
    started: str,
    config: Values,
    summary: Values,
) -> Run:
    """A run without what W&B keeps for itself (names that begin with _) and without media (images, tables)."""
    media = {key for key, value in summary.items() if isinstance(value, dict) and "_type" in value}
    settings = {key: value for key, value in flat(config) if not key.startswith("_")}
    last = dict(flat({key: value for key, value in summary.items() if key not in media}))
    metrics = {
        key: float(value)
        for key, value in sorted(last.items())
        if not key.startswith("_") and type(value) in (int, float) and math.isfinite(value)
    }
    return Run(id, name or id, group or "", tuple(tags), state, started, settings, metrics)


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
    """Write each run into `folder` as JSON that `read_folders` takes; the paths. A run exported before is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [run.name for run in runs]
    paths = []
    for run in runs:
        stem = run.name if names.count(run.name) == 1 else f"{run.name}-{run.id}"
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', stem)}.run.json"
        text = json.dumps({"format_version": FORMAT_VERSION, **asdict(run)}, indent=1, sort_keys=True)
        atomic_write(path, f"{text}\n".encode())
        paths.append(path)
    return paths


def read_export(path: Path) -> Run:
    """The run of an exported file; DataError where it is not one."""
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
