"""List and comparison of training runs in the terminal: `python -m train runs`.

`train.runs.store` reads the runs; local, exported and online runs look alike. Axes: R runs.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.cli.text import table
from router.errors import UsageError, known_names
from train.runs.store import Run, export_runs, only_in_wandb, read_folders, read_online

SCHEMA_VERSION = 1
FOLDERS = ("runs", "docs/runs")  # of this machine; committed
STAGES = ("best", "val")  # prefixes that a metric's short name may leave out, tried in this order
PLACES = re.compile(r"^export\.|\bdirpath$|\bdefault_root_dir$|^data\.cache$")  # settings of paths
MISSING, WIDEST = "-", 44


def pareto_members(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(R,) whether no other row of `points` (R, 2) is as great in both columns and greater in one; never with NaN.

    >>> pareto_members(np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0], [np.nan, 9.0]])).tolist()
    [True, True, False, False]
    """
    others, own = points[None], points[:, None]
    dominated = np.any(np.all(others >= own, axis=2) & np.any(others > own, axis=2), axis=1)
    return np.asarray(~dominated & ~np.isnan(points).any(axis=1))


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Settings whose values differ, each with its R values; None for a run without the setting.

    >>> differences([{"lr": 0.1, "epochs": 5}, {"lr": 0.2, "epochs": 5}])
    {'lr': [0.1, 0.2]}
    """
    names = sorted({name for config in configs for name in config})
    values = {name: [config.get(name) for config in configs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def metric_name(short: str, runs: Sequence[Run]) -> str:
    """Full name of the metric `short`, which may lack `best/` or `val/`; UsageError where no run has it."""
    known = {name for run in runs for name in run.metrics}
    for name in (short, *(f"{stage}/{short}" for stage in STAGES)):
        if name in known:
            return name
    raise UsageError(f"no run here has the metric {short!r}; {known_names(short, known)}")


def aiq_margins(runs: Sequence[Run]) -> dict[str, str]:
    """AIQ margins and their column heads, the mean first; the best epoch's where any run has them, or the last's."""
    for stage in STAGES:
        found = {
            name: match[1]
            for run in runs
            for name in run.metrics
            if (match := re.fullmatch(rf"{stage}/(?:(.+)/)?aiq_margin", name))
        }
        if found:
            return {name: found[name] or "mean" for name in sorted(found, key=lambda name: (found[name] or "", name))}
    return {}


def pareto(goals: Sequence[str], runs: Sequence[Run]) -> tuple[list[str], list[Run]]:
    """The two metrics and the Pareto members; a goal is `METRIC` or `METRIC:max` (greatest) or `METRIC:min` (least)."""
    names, columns = [], []
    for goal in goals:
        short, _, direction = goal.partition(":")
        if direction not in ("", "max", "min"):
            raise UsageError(f"--pareto {goal}: write METRIC:max (the default) or METRIC:min")
        names.append(metric_name(short, runs))
        sign = -1.0 if direction == "min" else 1.0
        columns.append([sign * run.metrics.get(names[-1], np.nan) for run in runs])
    members = pareto_members(np.array(columns).T)
    return names, [run for run, member in zip(runs, members, strict=True) if member]


def pick(names: Sequence[str], runs: Sequence[Run]) -> list[Run]:
    """The runs with these ids or names; UsageError for one that is unknown or ambiguous."""
    picked = []
    for name in names:
        found = [run for run in runs if run.id == name] or [run for run in runs if run.name == name]
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs are called {name!r}; give an id: {', '.join(r.id for r in found)}")
        if not found:
            raise UsageError(f"no run here is called {name!r}; {known_names(name, [run.name for run in runs])}")
        picked.append(found[0])
    return picked


def shown(value: Any) -> str:
    """A table cell: four digits of a number, JSON of a list, `-` for None, cut to the widest column."""
    if value is None:
        return MISSING
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def list_lines(runs: Sequence[Run], heads: Mapping[str, str], members: Sequence[Run] | None) -> list[str]:
    """A table of the runs with the metrics of `heads`; ids where names repeat; with `members`, marks of those runs."""
    columns = {
        "pareto": [] if members is None else ["*" if run in members else "" for run in runs],
        "run": [run.name for run in runs],
        "id": [run.id for run in runs] if len({run.name for run in runs}) < len(runs) else [],
        "group": [run.group or MISSING for run in runs],
        "tags": [",".join(run.tags) or MISSING for run in runs],
        "state": [run.state for run in runs],
    }
    facts = {head: cells for head, cells in columns.items() if cells}
    figures = [[shown(run.metrics.get(name)) for run in runs] for name in heads]
    rows = list(zip(*facts.values(), *figures, strict=True))
    return table([*facts, *heads.values()], rows, right=range(len(facts), len(facts) + len(heads)))


def diff_lines(runs: Sequence[Run], metrics: Sequence[str], members: Sequence[Run] | None) -> list[str]:
    """Settings that differ, and metrics, with the runs side by side."""
    settings = differences([run.config for run in runs])
    what = {name: values for name, values in settings.items() if not PLACES.search(name)}
    rows = [[name, *map(shown, values)] for name, values in what.items()]
    hidden = len(settings) - len(what)
    names = [run.name for run in runs]
    head = names if len(set(names)) == len(names) else [run.id for run in runs]
    lines = table(["setting", *head], rows) if rows else ["the configurations do not differ"]
    if hidden:
        lines.append(f"(and {hidden} of paths; --json has them)")
    rows = [[name, *(shown(run.metrics.get(name)) for run in runs)] for name in metrics]
    if members is not None:
        rows.append(["pareto", *("yes" if run in members else "no" for run in runs)])
    return [*lines, "", *table(["metric", *head], rows, right=range(1, len(head) + 1))]


def as_json(runs: Sequence[Run], compared: Sequence[Run], goals: Sequence[str], members: Sequence[Run] | None) -> str:
    """One JSON object with all that the tables show, uncut."""
    answer: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "runs": [asdict(run) for run in runs]}
    if compared:
        names = sorted({name for run in compared for name in run.metrics})
        answer["diff"] = {
            "runs": [run.id for run in compared],
            "config": differences([run.config for run in compared]),
            "metrics": {name: [run.metrics.get(name) for run in compared] for name in names},
        }
    if members is not None:
        answer["pareto"] = {"metrics": list(goals), "members": [run.id for run in members]}
    return json.dumps(answer, indent=1)


def read(options: argparse.Namespace) -> list[Run]:
    """The runs that the options select; UsageError where there are none.

    Says so on stderr where the folders have runs of which only W&B's own files tell.
    """
    if options.online:
        where, runs = options.online, read_online(options.online, options.group)
    else:
        folders = [Path(f) for f in options.folder or FOLDERS if options.folder or Path(f).is_dir()]
        where, runs = ", ".join(map(str, folders)) or " and ".join(FOLDERS), read_folders(folders)
        if unread := only_in_wandb(folders, runs):
            print(
                f"train: runs left out, of which older versions wrote only W&B's own file: {len(unread)}, such as "
                f"{unread[0]}; `wandb sync` uploads them for --online",
                file=sys.stderr,
            )
    matching = [
        run for run in runs if options.group in (None, run.group) and (options.tag is None or options.tag in run.tags)
    ]
    if not matching:
        groups = known_names(options.group or "", [run.group for run in runs if run.group]) if runs else "no run at all"
        raise UsageError(f"no run in {where} with group {options.group} and tag {options.tag} (None: any); {groups}")
    return matching


def arguments() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m train runs",
        description="Lists and compares training runs in the terminal: "
        "`python -m train runs [--diff RUN RUN ...] [--pareto X Y]`.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--folder", nargs="+", help=f"of logged or exported runs (default {' and '.join(FOLDERS)})")
    where.add_argument("--online", metavar="ENTITY/PROJECT", help="runs on W&B's server instead")
    parser.add_argument("--group", help="only runs of this group")
    parser.add_argument("--tag", help="only runs with this tag")
    parser.add_argument("--metrics", nargs="+", help="shown (default: AIQ margins; in a diff all of best/ or val/)")
    parser.add_argument("--diff", nargs="+", metavar="RUN", default=[], help="compare these, by name or id")
    parser.add_argument(
        "--pareto", nargs=2, metavar=("X", "Y"), help="mark runs that none beats in both: METRIC, METRIC:min"
    )
    parser.add_argument(
        "--export", metavar="FOLDER", help="write the listed runs there as JSON, small, to be committed"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object in place of tables")
    return parser


def main(args: list[str] | None = None) -> int:
    """Print a list or a comparison of runs; 0 when done."""
    options = arguments().parse_args(args)
    runs = read(options)
    compared = pick(options.diff, runs)
    goals, members = pareto(options.pareto, compared or runs) if options.pareto else ([], None)
    metrics = [metric_name(name, runs) for name in options.metrics or []]
    if options.export:
        for path in export_runs(runs, Path(options.export)):
            print(f"train: wrote {path}", file=sys.stderr)
    margins = aiq_margins(compared or runs)
    if options.json:
        print(as_json(runs, compared, goals, members))
    elif compared:
        stage = next(iter(margins), "").partition("/")[0]
        every = sorted({name for run in compared for name in run.metrics if name.startswith(f"{stage}/")})
        print("\n".join(diff_lines(compared, metrics or every, members)))
    else:
        heads = {name: name for name in metrics} or margins
        print("\n".join(list_lines(runs, heads | {name: name for name in goals if name not in heads}, members)))
        if margins and not metrics:
            print(f"\nAIQ margins on the validation folds, {next(iter(margins))} and per pool")
    return 0
