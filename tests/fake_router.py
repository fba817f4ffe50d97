"""A router without a network for the tests of the command line: it keeps `Router`'s contract and counts its calls.

A query costs it $0.12 per 1,000, so that no smaller budget can be kept; validation's dial for any goal is 6.5.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.cli.main import main
from router.errors import NoCandidateError, PoolError, QueryError, UsageError, known_names
from router.policy.decision import Alternative, Contributions, Decision, Reasons
from router.policy.goal import BATCH, VALIDATION, Goal
from router.policy.goals import DialPoint
from router.pools.models import ModelFacts, System, resolve_system
from router.pools.pool import Candidate, Pool

PROBE = "?"  # the command line asks this first; it is no query of a line
BIG, SMALL, NEW = ModelFacts("big", 2.5, 10.0, "2024-11", 128000, ("text", "image"), True, ("x",)), ModelFacts(
    "small", 0.1, 0.2
), ModelFacts("new", 1.0, 3.0)  # fmt: skip
SYSTEMS = (System("big", "chat"), System("small", "chat"), System("small", "letter"))
AXES = {"coding": 1.25, "writing": 0.5, "reasoning": -0.75}


class FakeRouter:
    """Sends long queries to `big`, others to `small`. Raises `stop` when it has routed `stop_after` queries."""

    def __init__(self, stop_after: int | None = None, stop: type[BaseException] = KeyboardInterrupt) -> None:
        self.stop_after, self.stop = stop_after, stop
        self.routed: list[tuple[str, float]] = []  # query and dial, without the probe
        self.goals: list[tuple[str, str, int]] = []  # what was asked for, how it is met, of how many queries
        self.options: dict[str, Any] = {}
        self.delay = 0.0
        self.systems = SYSTEMS
        self.default_pool = "trio"
        candidates = (Candidate(BIG, SYSTEMS[0]), Candidate(SMALL, SYSTEMS[1]), Candidate(NEW, None))
        self.pools = {"trio": Pool("trio", candidates), "solo": Pool("solo", (Candidate(SMALL, SYSTEMS[2]),))}

    def pool(self, pool: str | Path | Pool | None = None) -> Pool:
        if isinstance(pool, Pool):
            return pool
        name = str(pool or self.default_pool)
        if name not in self.pools:
            raise PoolError(f"unknown pool {name!r}; {known_names(name, self.pools)}")
        return self.pools[name]

    def profile(self, name: str) -> Any:
        system = resolve_system(name, self.systems)
        facts = ModelFacts(system.model)
        return SimpleNamespace(
            system=system, facts=facts, axes=AXES, bias=0.5, mean_score=0.625, rests_on="mean over its training queries"
        )

    def dial_for(self, pool: Pool, **goal: float) -> DialPoint:
        return DialPoint(6.5, 0.11, 0.75, 0.74)

    def route(
        self,
        query: str | Sequence[str] | Iterator[str],
        *,
        dial: float | Sequence[float] | None = None,
        budget_usd_per_1k: float | None = None,
        quality_at_least: float | None = None,
        **options: Any,
    ) -> Any:
        goal = Goal.read(dial, budget_usd_per_1k, quality_at_least)
        together = not isinstance(query, str | Iterator)
        queries = [query] if isinstance(query, str) else list(query)
        dial = 3.0 if dial is None else dial
        if goal:
            dial = 5.0 if together else 6.5
            goal = Goal(budget_usd_per_1k, quality_at_least, BATCH if together else VALIDATION, 200.0)
            self.goals.append((str(goal), goal.met_on, len(queries)))
        dials = [dial] * len(queries) if isinstance(dial, int | float) else dial
        assert len(dials) == len(queries)
        self.options = options
        for each in queries:
            self._check(each, options)
        if together and budget_usd_per_1k is not None and budget_usd_per_1k < 0.12:
            raise UsageError("the least possible here is 0.12")
        time.sleep(self.delay)
        decisions = []
        for each, one in zip(queries, dials, strict=True):
            if each != PROBE:
                self.routed.append((each, one))
            if self.stop_after is not None and len(self.routed) > self.stop_after:
                raise self.stop
            decisions.append(replace(_decision(each, one, options["pool"].name), goal=goal))
        return decisions[0] if isinstance(query, str) else decisions

    @staticmethod
    def _check(query: str, options: dict[str, Any]) -> None:
        if not query.strip():
            raise QueryError("the query is empty")
        if len(query) > 500_000:
            raise QueryError(f"the query has {len(query)} characters; at most 500,000")
        if "needs a window" in query:
            raise NoCandidateError("no model is left: context window removed big, small, new")
        if options["allow"] == ["nobody"]:
            raise NoCandidateError("no model is left: allow nobody removed big, small, new")


def _decision(query: str, dial: float, pool: str) -> Decision:
    names = ("big", "small") if len(query) > 20 else ("small", "big")
    alternatives = tuple(
        Alternative(name, 0.75 - 0.25 * rank, 0.0012 * rank, 0.5, False) for rank, name in enumerate(names)
    )
    axes = Contributions([("coding", "capability")], [0.5])
    return Decision(
        query=query,
        model=names[0],
        pool=pool,
        dial=dial,
        quality=0.75,
        cost_usd=0.00012,
        utility=0.5,
        prior=False,
        alternatives=alternatives,
        capabilities={"coding": 0.6, "reasoning": 0.3},
        domains={"Algebra": 0.9},
        difficulty=0.1,
        reasons=Reasons(names[1], 0.5, axes, 0.0, 0.0, 0.0, 0.1, 0.2, -0.1),
    )


LINES = [
    b'{"query": "one", "id": "a"}',
    b'{"query": "a rather long query, number two"}',
    b'{"query": ""}',
    b'{"query": "four", "dial": 7.5}',
    b"no json",
    b'{"text": "six"}',
    b'{"query": "seven"}',
]
INPUT = b"\n".join(LINES) + b"\n"
QUERIES = ["one", "a rather long query, number two", "four", "six", "seven"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Session:
    """Runs `router` in this process with a fake router behind it."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *command: str
    ) -> None:
        from router.routing.router import Router

        self.command = command
        self.folder, self.capsys, self.monkeypatch = folder, capsys, monkeypatch
        self.router = FakeRouter()
        monkeypatch.setattr(Router, "from_pretrained", lambda *_, **__: self.router)
        monkeypatch.setenv("ROUTER_CHECKPOINT", "some/checkpoint")
        monkeypatch.chdir(folder)
        (folder / "in.jsonl").write_bytes(INPUT)

    def __call__(self, *argv: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        source = Terminal() if stdin is None else io.TextIOWrapper(io.BytesIO(stdin))
        self.monkeypatch.setattr(sys, "stdin", source)
        code = main([*self.command, *argv])
        return code, *self.capsys.readouterr()

    def records(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}
