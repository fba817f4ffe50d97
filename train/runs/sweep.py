"""Local runner of a Weights & Biases grid sweep, without its server: `python -m train sweep FILE`.

`wandb sweep` takes the same file. Each combination runs as the command of `wandb agent`, in a process of its own. The
next time, finished combinations are skipped as long as their command and configuration files are unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from router.errors import UsageError, known_names
from router.pools.strict_yaml import read_yaml

FOLDER = Path("runs/sweeps")
METHODS = ("grid", "bayes", "random")
NEEDED = ("method", "program", "command", "parameters")
KEYS = set("name description project entity program method metric command parameters early_terminate run_cap".split())
NAME_FLAG = "--trainer.logger.name"


@dataclass(frozen=True)
class Sweep:
    """A sweep file: the program to run and the values of each parameter, by its command-line name."""

    name: str
    method: str
    program: str
    command: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]  # by flag: `values`, `value`, or a distribution's settings


def read_sweep(path: Path) -> Sweep:
    """The sweep of a file; UsageError with all problems at once."""
    try:
        content, problems = read_yaml(path)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a sweep file is a mapping with method, metric, program, command and parameters")
    problems += [f"unknown key {key!r}; {known_names(str(key), KEYS)}" for key in content if key not in KEYS]
    problems += [f"{key} is missing" for key in NEEDED if content.get(key) is None]
    method, command, parameters = (content.get(key) for key in ("method", "command", "parameters"))
    if method is not None and method not in METHODS:
        problems.append(f"method is one of {', '.join(METHODS)}, got {method!r}")
    if command is not None and not (isinstance(command, list) and "${args}" in command):
        problems.append("command is a list of words, one of them ${args}, where the parameters go")
    if isinstance(parameters, dict):
        problems += [
            f"parameters.{name}: write `values: [...]` or `value: ...` (a distribution is not for a grid), got {each!r}"
            for name, each in parameters.items()
            if not _fits(method, each)
        ]
    elif parameters is not None:
        problems.append(f"parameters is a mapping by flag, got {parameters!r}")
    if problems:
        raise UsageError(f"{path}: " + "; ".join(problems))
    words = tuple(str(word) for word in content["command"])
    return Sweep(
        str(content.get("name", path.stem)), content["method"], str(content["program"]), words, content["parameters"]
    )


def _fits(method: object, parameter: object) -> bool:
    """Whether a parameter has a list of values or one value; with a method that draws, whether it is a mapping."""
    if not isinstance(parameter, dict) or method != "grid":
        return isinstance(parameter, dict)
    values = parameter.get("values")
    return set(parameter) == {"value"} or (set(parameter) == {"values"} and isinstance(values, list) and values != [])


def combinations(sweep: Sweep) -> list[dict[str, Any]]:
    """Every combination of the grid, the last parameter changing fastest; UsageError for another method.

    >>> grid = {"a": {"values": [1, 2]}, "b": {"value": 0}, "c": {"values": ["x", "y"]}}
    >>> [list(each.values()) for each in combinations(Sweep("s", "grid", "train", (), grid))]
    [[1, 0, 'x'], [1, 0, 'y'], [2, 0, 'x'], [2, 0, 'y']]
    """
    if sweep.method != "grid":
        raise UsageError(
            f"the sweep {sweep.name!r} has method {sweep.method!r}, whose next run W&B's server draws: "
            "`wandb sweep FILE`, then `wandb agent ID`; offline, method grid alone can be run"
        )
    values = [each["values"] if "values" in each else [each["value"]] for each in sweep.parameters.values()]
    return [dict(zip(sweep.parameters, chosen, strict=True)) for chosen in itertools.product(*values)]


def command_line(sweep: Sweep, chosen: Mapping[str, Any]) -> list[str]:
    """The words that `wandb agent` runs for these parameters, with this interpreter; UsageError for other macros."""
    macros = {
        "${env}": [],
        "${interpreter}": [sys.executable],
        "${program}": [sweep.program],
        "${args}": [f"--{name}={value}" for name, value in chosen.items()],
    }
    words: list[str] = []
    for part in sweep.command:
        if part not in macros and "${" in part:
            raise UsageError(f"command: {part!r} is not known offline; known: {', '.join(macros)}")
        words += macros.get(part, [part])
    return words


def run_name(sweep: Sweep, chosen: Mapping[str, Any]) -> str:
    """Name of a run: the parameters that vary, each by the last part of its name.

    >>> grid = {"model.dropout": {"values": [0.1, 0.3]}, "seed": {"value": 0}}
    >>> run_name(Sweep("s", "grid", "train", (), grid), {"model.dropout": 0.3, "seed": 0})
    'dropout=0.3'
    """
    varying = [name for name, each in sweep.parameters.items() if len(each.get("values", [])) > 1]
    return ",".join(f"{name.rpartition('.')[2]}={chosen[name]}" for name in varying) or sweep.name


def fingerprint(words: Sequence[str]) -> str:
    """Hash of a command and of the configuration files it names, eight hexadecimal digits."""
    digest = hashlib.sha256()
    for before, word in zip(["", *words[:-1]], words, strict=True):
        digest.update(word.encode() + b"\0")
        file = Path(word if before == "--config" else word.removeprefix("--config="))
        if (before == "--config" or word.startswith("--config=")) and file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


@dataclass(frozen=True)
class Job:
    """One combination to run: its command, and its log, which exists once the run has finished."""

    words: tuple[str, ...]
    log: Path

    @classmethod
    def of(cls, sweep: Sweep, chosen: Mapping[str, Any]) -> Job:
        """The job of a combination."""
        name = run_name(sweep, chosen)
        words = [*command_line(sweep, chosen), f"{NAME_FLAG}={name}"]
        file = re.sub(r"[^\w.,=+-]+", "_", f"{name}-{fingerprint(words[1:])}.log")
        return cls(tuple(words), FOLDER / sweep.name / file)

    @property
    def partial(self) -> Path:
        """The log of a run in progress; it stays after a failed run."""
        return self.log.with_suffix(".partial")

    def run(self, environment: Mapping[str, str]) -> bool:
        """Whether the command succeeded; returns when it ends."""
        with self.partial.open("w") as log:
            done = subprocess.run(self.words, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode == 0:
            self.partial.replace(self.log)
        return done.returncode == 0


def run_all(jobs: Sequence[Job], at_once: int) -> list[Job]:
    """The jobs that failed, after running all without a log, `at_once` of them at a time."""
    waiting = [job for job in jobs if not job.log.exists()]
    environment = dict(os.environ)
    if at_once > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
    failed = []
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), desc="sweep", unit="run", disable=None)
    with bar, ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(job.run, environment): job for job in waiting}
        try:
            for future in as_completed(running):
                if not future.result():
                    failed.append(running[future])
                    bar.write(f"train: failed, see {running[future].partial}", file=sys.stderr)
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def main(args: list[str] | None = None) -> int:
    """Run the grid; 0 when all of it is done, 1 when a run failed."""
    parser = argparse.ArgumentParser(
        prog="python -m train sweep",
        description="Runs the grid of a Weights & Biases sweep file without its server: "
        "`python -m train sweep FILE [--jobs N]`.",
    )
    parser.add_argument("file", type=Path, help="such as configs/sweeps/frozen-grid.yaml")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    options = parser.parse_args(args)
    if options.jobs < 1:
        parser.error(f"--jobs is a whole number from 1, got {options.jobs}")
    sweep = read_sweep(options.file)
    jobs = [Job.of(sweep, chosen) for chosen in combinations(sweep)]
    if options.list:
        for job in jobs:
            print(f"{'done' if job.log.exists() else 'to do'}\t{' '.join(job.words)}")
        return 0
    (FOLDER / sweep.name).mkdir(parents=True, exist_ok=True)
    try:
        failed = run_all(jobs, options.jobs)
    except KeyboardInterrupt:
        print("train: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(
        f"train: {len(jobs) - len(failed)} of {len(jobs)} runs done; compare them: python -m train runs",
        file=sys.stderr,
    )
    return 1 if failed else 0
