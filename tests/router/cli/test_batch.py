"""`router batch` and `python -m router.batch`: who routes which part, what is said, and how a run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
from fixtures.fake_router import QUERIES, Session

from router.batch import corpus
from router.routing.router import Router

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def batch(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(corpus, "PART_LINES", 3)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return Session(tmp_path, capsys, monkeypatch, "batch")


def routed(folder: Path) -> list[dict]:
    return [json.loads(line) for part in sorted(folder.glob("part-*")) for line in part.read_bytes().splitlines()]


def test_a_corpus_becomes_parts_with_an_error_in_the_place_of_each_bad_line(batch: Session) -> None:
    code, out, err = batch("in.jsonl", "--output", "out", "--dial", "4")
    assert (code, out) == (3, "") and "7 lines routed by this process, 2 failed in all so far, in out" in err
    records = routed(batch.folder / "out")
    assert [record["line"] for record in records] == list(range(1, 8))
    assert ["error" in record for record in records] == [False, False, True, False, True, False, False]
    assert [query for query, _ in batch.router.routed] == QUERIES
    assert [dial for _, dial in batch.router.routed] == [4, 4, 7.5, 4, 4]


def test_parts_that_are_there_are_not_routed_again(batch: Session) -> None:
    batch("in.jsonl", "--output", "out")
    before = routed(batch.folder / "out")
    (batch.folder / "out" / "part-000001.jsonl").unlink()
    batch.router.routed.clear()
    assert batch("in.jsonl", "--output", "out")[0] == 3
    assert [query for query, _ in batch.router.routed] == ["four", "six"]
    assert routed(batch.folder / "out") == before


def test_two_processes_share_the_parts(batch: Session) -> None:
    batch.monkeypatch.setenv("WORLD_SIZE", "2")
    batch.monkeypatch.setenv("RANK", "1")
    code, _, err = batch("in.jsonl", "--output", "out")
    assert code == 0 and "3 lines routed" in err  # a launcher would end the other process at any other code
    assert [query for query, _ in batch.router.routed] == ["four", "six"]
    batch.monkeypatch.setenv("RANK", "0")
    assert batch("in.jsonl", "--output", "out")[0] == 0
    assert [record["line"] for record in routed(batch.folder / "out")] == list(range(1, 8))


def test_each_process_takes_a_gpu_of_its_own(batch: Session) -> None:
    devices: list[str] = []

    def load(args: Namespace) -> object:
        devices.append(args.device)
        return batch.router

    batch.monkeypatch.setattr("router.cli.batch.load_router", load)
    batch.monkeypatch.setenv("LOCAL_RANK", "3")
    for device in ("cuda", "cpu", "cuda:1"):
        batch("in.jsonl", "--output", device.replace(":", "-"), "--device", device)
    assert devices == ["cuda:3", "cpu", "cuda:1"]


def test_other_settings_do_not_mix_with_the_parts_of_before(batch: Session) -> None:
    batch("in.jsonl", "--output", "out", "--dial", "4")
    code, _, err = batch("in.jsonl", "--output", "out", "--dial", "5")
    assert code == 2 and "holds parts of another run: dial was 4" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.jsonl"], "cannot read none.jsonl: no such file"),
        (["."], "not a regular file"),
        (["in.csv"], "the name ends in none of .txt, .jsonl, .parquet; say with --format which it is"),
        (["in.jsonl", "--pool", "duo"], "unknown pool 'duo'"),
        (["in.jsonl", "--allow", "nobody"], "no model is left"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(batch: Session, argv: list[str], message: str) -> None:
    (batch.folder / "in.csv").write_text("a")
    code, out, err = batch(*argv, "--output", "out")
    assert code in (1, 2) and out == "" and err.count("\n") == 1
    assert err.startswith("router: error: ") and message in err
    assert not (batch.folder / "out").exists()


@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_an_id_that_is_no_unicode_is_one_error_record_and_the_part_goes_on(batch: Session, output_format: str) -> None:
    content = b'{"query": "one", "id": "a"}\n{"query": "two", "id": "\\ud800"}\n{"query": "three", "id": "c"}\n'
    (batch.folder / "in.jsonl").write_bytes(content)
    code, _, err = batch("in.jsonl", "--output", "out", "--output-format", output_format)
    assert code == 3 and "3 lines routed by this process, 1 failed" in err
    part = batch.folder / "out" / f"part-000000.{output_format}"
    records = (pd.read_json(part, lines=True) if output_format == "jsonl" else pd.read_parquet(part)).to_dict("records")
    assert [record["id"] for record in records if isinstance(record["id"], str)] == ["a", "c"]
    assert "id is not valid Unicode" in records[1]["error"]["message"]


def test_one_folder_takes_parts_of_one_format(batch: Session) -> None:
    batch("in.jsonl", "--output", "out")
    code, out, err = batch("in.jsonl", "--output", "out", "--output-format", "parquet")
    assert (code, out) == (2, "") and "output_format was 'jsonl', now 'parquet'" in err and err.count("\n") == 1
    assert not list((batch.folder / "out").glob("*.parquet"))


def test_a_budget_holds_for_the_lines_of_a_part_together(batch: Session) -> None:
    batch("in.jsonl", "--output", "out", "--budget", "0.5")
    assert [goal[1] for goal in batch.router.goals] == ["batch"] * len(batch.router.goals)
    assert max(goal[2] for goal in batch.router.goals) > 1


def test_processes_of_their_own_route_what_one_would(tiny_router: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"prove that {n} is the root\n" for n in range(8001)))
    environment = {**os.environ, "ROUTER_CHECKPOINT": str(tiny_router), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "router.batch", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out")]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    assert [(process.communicate()[1], process.returncode)[1] for process in processes] == [0, 0]
    records = routed(tmp_path / "out")
    assert [record["line"] for record in records] == list(range(1, 8002))
    router = Router.from_pretrained(tiny_router)
    for row in (0, 7999, 8000):
        assert records[row]["model"] == router.route(f"prove that {row} is the root").model
