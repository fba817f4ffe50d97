"""Mutation testing: the share of small code changes that the tests notice, on a seeded sample of each group of files.

    pip install cosmic-ray==8.7.0  # beside the packages of the `dev` extra, in an environment of its own
    python scripts/mutants.py --sample 45 --seed 19 --jobs 2 [--only risk guard] [--out FILE] [--minutes 5]

cosmic-ray makes the changes, in copies of the tree. A mutant counts as killed where a covering test fails, or where
the tests take over 10 s + three times as long as without it. FILE keeps the results: start the command again to go on,
and delete FILE after a change of code or tests. docs/mutants.md has the last report.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from functools import cache
from operator import itemgetter
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[1]
# Group: the files that are changed, and the tests that should notice, quick ones first; doctests are run as well.
GROUPS = {
    "policy": ("router/policy/constraints.py", "router/policy/test_constraints"),
    "scoring": ("router/network/scoring.py", "router/network/test_scoring"),
    "budget": ("router/policy/budget.py", "router/policy/test_budget"),
    "risk": ("router/evidence/risk.py", "router/evidence/test_risk"),
    "calibration": ("train/export/calibration.py", "train/export/test_calibration"),
    "guard": ("router/encoding/suffix_guard.py", "router/encoding/test_suffix_guard"),
    "breaker": ("router/serving/upstreams/breaker.py", "router/serving/upstreams/test_breaker"),
    "sessions": ("router/serving/dispatch/sessions.py", "router/serving/dispatch/test_sessions"),
    "checkpoint": (
        "router/checkpoint/layout.py router/checkpoint/profiles_file.py",
        "router/checkpoint/test_layout router/checkpoint/test_profiles_file router/checkpoint/test_storage_folder",
    ),
    "grading": (
        "router/grading/final_answer.py router/grading/grading.py",
        "router/grading/test_final_answer router/grading/test_grading",
    ),
}
SURVIVED, KILLED, TIMED_OUT = "survived", "killed", "timed out"


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    group: str
    file: str
    operator: str
    code: str  # the file with the change

    @property
    def diff(self) -> str:
        """The lines that differ."""
        lines = unified_diff(source(self.file).splitlines(), self.code.splitlines(), lineterm="", n=0)
        return "\n".join([self.file, *list(lines)[2:]])


@cache
def source(file: str) -> str:
    """The file as it is."""
    return (ROOT / file).read_text()


def sample(group: str, size: int, seed: int) -> list[Mutant]:
    """At most `size` mutants: for each place in the code one by each kind of operator before a second by any."""
    spots: list[tuple[str, str, int, tuple[object, ...]]] = []
    for file in GROUPS[group][0].split():
        nodes = list(ast_nodes(get_ast(source(file))))
        for name in sorted(operator_names()):
            operator = get_operator(name)
            if operator.arguments() or name == "core/NoOp":
                continue
            places = [place for node in nodes for place in operator().mutation_positions(node)]
            spots += [(file, name, i, (file, name.split("_")[0], place)) for i, place in enumerate(places)]
    random.Random(f"{seed} {group}").shuffle(spots)
    seen: Counter[tuple[object, ...]] = Counter()
    ranked = []
    for file, name, occurrence, place in spots:
        ranked.append((seen[place], file, name, occurrence))
        seen[place] += 1
    drawn: list[Mutant] = []
    for _, file, name, occurrence in sorted(ranked, key=itemgetter(0)):
        code = mutate_code(source(file), get_operator(name)(), occurrence)
        if code and meaning(code) not in (None, meaning(source(file))):
            drawn.append(Mutant(group, file, name, code))
        if len(drawn) == size:
            break
    return drawn


@cache
def meaning(code: str) -> str | None:
    """The syntax without annotations, which no module here evaluates; None for code that does not compile."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
    return ast.dump(tree)


def start(copy: Path, group: str) -> int:
    """Process id of a fork of this process that runs the group's tests in the copy."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        os.chdir(copy)
        sys.path[:] = [str(copy), str(copy / "tests"), *(path for path in sys.path if path not in ("", str(ROOT)))]
        # The imports of pytest's plugins take longer than most of these tests.
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        log = os.open(copy.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        files, tests = map(str.split, GROUPS[group])
        options = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(copy.with_suffix(".tmp"))]
        os._exit(pytest.main([*options, *(f"tests/{name}.py" for name in tests), *files]))
    finally:
        os._exit(99)


def ended(child: int, deadline: float) -> str | None:
    """Outcome of the process that has ended or passed its deadline; None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    if not pid and time.monotonic() < deadline:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # with its children
    if pid:
        return KILLED if status else SURVIVED
    os.waitpid(child, 0)
    return TIMED_OUT


def outcomes(mutants: list[Mutant], jobs: int, until: float) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with the outcome of its tests; none is started after `until`."""
    with tempfile.TemporaryDirectory() as folder:
        free = [copied(Path(folder) / str(number)) for number in range(jobs)]
        for group in GROUPS:
            waiting = [mutant for mutant in mutants if mutant.group == group]
            if not waiting or (began := time.monotonic()) > until:
                continue
            child = start(free[0], group)
            while (found := ended(child, began + 600)) is None:
                time.sleep(0.02)
            if found != SURVIVED:
                sys.exit(f"{group}: its tests fail without a change\n{free[0].with_suffix('.log').read_text()}")
            limit = 10 + 3 * (time.monotonic() - began)
            running: dict[int, tuple[Mutant, Path, float]] = {}
            while running or (waiting and time.monotonic() < until):
                if waiting and free and time.monotonic() < until:
                    mutant, copy = waiting.pop(), free.pop()
                    (copy / mutant.file).write_text(mutant.code)
                    os.utime(copy / mutant.file, (len(waiting),) * 2)  # no cached bytecode is of this time
                    running[start(copy, group)] = (mutant, copy, time.monotonic() + limit)
                time.sleep(0.02)
                for child, (mutant, copy, deadline) in list(running.items()):
                    if found := ended(child, deadline):
                        del running[child]
                        (copy / mutant.file).write_text(source(mutant.file))
                        free.append(copy)
                        yield mutant, found


def copied(target: Path) -> Path:
    """A copy, at `target`, of the files that git tracks or would add."""
    target.mkdir()
    files = "git ls-files -co --exclude-standard --deduplicate | grep -vxFf <(git ls-files --deleted)"
    subprocess.run(["bash", "-c", f"{files} | xargs -d '\\n' cp -p --parents -t {target}"], cwd=ROOT, check=True)
    return target


def main() -> None:
    """Sample, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=45, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--minutes", type=float, default=600, help="stop after as many; start again to go on")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutants.json")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, str] = json.loads(args.out.read_text()) if args.out.exists() else {}
    drawn = [mutant for group in args.only for mutant in sample(group, args.sample, args.seed)]
    waiting = [mutant for mutant in drawn if mutant.diff not in known]
    for name in ("numpy", "torch", "scipy.optimize", "tokenizers", "onnxruntime", "pandas", "safetensors"):
        importlib.import_module(name)  # once, before each mutant's process is forked
    for mutant, found in outcomes(waiting, args.jobs, time.monotonic() + 60 * args.minutes):
        known[mutant.diff] = found
        args.out.write_text(json.dumps(known, indent=0))
    ran = {mutant: known[mutant.diff] for mutant in drawn if mutant.diff in known}
    print("| group | mutants | killed | of them timed out | survived |\n|---|---|---|---|---|")
    for group in [*args.only, "all"]:
        ends = [each for mutant, each in ran.items() if group in (mutant.group, "all")]
        alive = ends.count(SURVIVED)
        print(f"| {group} | {len(ends)} | {len(ends) - alive} | {ends.count(TIMED_OUT)} | {alive} |")
    print(f"{len(drawn) - len(ran)} of {len(drawn)} have not run\n")
    print("\n\n".join(f"{m.operator} {m.diff}" for m, each in ran.items() if each == SURVIVED))


if __name__ == "__main__":
    main()
