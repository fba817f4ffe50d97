"""The commands of docs/guide.md, run as they stand on a generated world with a loopback endpoint in the LLMs' place."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import wandb
from guide_world import MEMBERS, allowed, write_world
from loopback_llm import LoopbackLLM, serving
from planted_llm import PlantedLLM

from router.cli import main as router_main
from router.dataset import read_dataset
from router.evaluation import evaluate_router
from router.routing import Router
from train.__main__ import main as train_main

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).resolve().parents[1]
GUIDE = (REPOSITORY / "docs" / "guide.md").read_text(encoding="utf-8")
NOT_RUN = ("pip", "mkdir")  # set-up
ADDRESS, KEY = "https://api.example.com/v1", "EXAMPLE_API_KEY"
FOLDS = [8, 9]


def commands() -> list[str]:
    """The lines of the guide's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def run(line: str) -> int:
    """A command of the guide, in this process."""
    program, *arguments = shlex.split(line)
    if program == "router":  # a server would not end: whether it would start, its whole configuration included
        return router_main([*arguments, "--check"] if arguments[0] == "serve" else arguments)
    if (program, *arguments[:2]) == ("python", "-m", "train"):
        return train_main(arguments[2:])
    assert program == "lightning"
    return train_main(arguments)


def follow(folder: Path, queries: int, members: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Run the guide in `folder`; the share of the margin over the best single model that the truth allows, and AIQs."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv(KEY, "sk-of-the-test")
    monkeypatch.setattr("sys.argv", ["pytest"])  # LightningCLI compares it with what it is given
    (folder / "configs").mkdir()
    (folder / "configs" / "own.yaml").write_text((REPOSITORY / "configs" / "own.yaml").read_text())
    (folder / "runs" / "own").mkdir(parents=True)
    world = write_world(folder, queries, MEMBERS[:members])
    with serving(LoopbackLLM(PlantedLLM(world), key="sk-of-the-test")) as llm:
        pool = folder / "pool.yaml"
        pool.write_text(pool.read_text().replace(ADDRESS, llm.url))
        try:
            for line in commands():
                if not line.startswith(NOT_RUN):
                    allowed_codes = (
                        (0, 3) if line.startswith("python -m train check") else (0,)
                    )  # 3: it found something
                    assert run(line.replace(ADDRESS, llm.url)) in allowed_codes, line
        finally:
            wandb.finish()  # as the end of the process does
    assert max(llm.billed.values()) == 1
    data = read_dataset("runs/own/data")
    known = allowed(world, data, Path("runs/own/data/pool.yaml"), FOLDS)
    report = evaluate_router(Router.from_pretrained("runs/own/router"), data, folds=FOLDS)
    gain = report["aiq"] - known.best_single
    figures = {"aiq": report["aiq"], "zero": known.zero, "best_single": known.best_single, "informed": known.informed}
    return figures | {"share": gain / (known.informed - known.best_single)}


def test_the_guides_commands_make_a_router_that_beats_the_best_single_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = follow(tmp_path, 240, 4, monkeypatch)
    print(figures)
    assert figures["aiq"] > max(figures["best_single"], figures["zero"]) + 0.05
    assert figures["share"] > 0.25
    out = capsys.readouterr().out
    assert "rare capabilities" in out
    assert f"model    {MEMBERS[0].name[:8]}" in out


@pytest.mark.full
def test_on_two_thousand_queries_and_eight_models_the_margin_is_within_a_fifth_of_what_the_truth_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = follow(tmp_path, 2000, 8, monkeypatch)
    assert figures["informed"] > figures["best_single"] + 0.1
    assert figures["share"] >= 0.8, figures


def test_the_guides_examples_are_what_the_commands_read(tmp_path: Path) -> None:
    from router.pools import read_pool
    from train.collecting.grading import KINDS, read_task
    from train.query_file import read_queries

    (lines,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "queries.jsonl").write_text(lines)
    tasks = [read_task(row.fields, "exact") for row in read_queries(tmp_path / "queries.jsonl")]
    assert [task.kind for task in tasks] == [json.loads(line)["grade"] for line in lines.splitlines()]
    (pool,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "pool.yaml").write_text(pool)
    (candidate,) = read_pool(tmp_path / "pool.yaml", None).candidates
    assert candidate.upstream is not None
    assert candidate.upstream.key_env == KEY
    assert all(f"| `{kind}` |" in GUIDE for kind in KINDS)
