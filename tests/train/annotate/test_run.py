"""`python -m train annotate` under interrupts, kills and faults: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.annotating import PRICES, annotate, labels_by_row, notes_of, truth, write_queries
from fixtures.loopback_llm import Faults, LoopbackLLM, serving
from fixtures.planted_llm import PlantedLLM

from train.data_folders.synthetic.generate import PlantedData, plant

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def planted() -> PlantedData:
    return plant(60, seed=3)


def start(queries: Path, llm: LoopbackLLM, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "train", "annotate", str(queries), "--model", "labeller", "--base-url", llm.url]
    out = str(queries.with_name("notes.jsonl"))
    return subprocess.Popen(
        [*command, *PRICES, "--max-usd", "9", "--out", out, *options],
        cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(llm: LoopbackLLM, requests: int, process: subprocess.Popen[str]) -> None:
    while llm.requests < requests:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_an_interrupt_waits_for_the_answers_under_way_and_keeps_them(planted: PlantedData, tmp_path: Path) -> None:
    queries = write_queries(tmp_path / "q.jsonl", planted.text)
    with serving(LoopbackLLM(PlantedLLM(planted), Faults(latency_s=0.1))) as llm:
        process = start(queries, llm, "--parallel", "4")
        wait_for(llm, 20, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "answers are kept, run the same command again" in err
        assert llm.requests < 60
        assert annotate(llm, queries) == 0
    assert llm.requests == 60
    assert set(llm.billed.values()) == {1}
    assert labels_by_row(queries) == truth(planted)


def killed_in_the_middle(planted: PlantedData, folder: Path, idempotent: bool, parallel: int) -> LoopbackLLM:
    """Annotate with faults and a SIGKILL half way, then again to the end; the endpoint with its bill."""
    queries = write_queries(folder / "q.jsonl", planted.text)
    faults = Faults(malformed=0.02, overloaded=0.01, latency_s=0.01)
    with serving(LoopbackLLM(PlantedLLM(planted), faults, idempotent=idempotent)) as llm:
        process = start(queries, llm, "--parallel", str(parallel))
        wait_for(llm, len(planted.text) // 2, process)
        process.kill()
        process.communicate(timeout=30)
        assert not (folder / "notes.jsonl").exists()
        process = start(queries, llm, "--parallel", str(parallel))
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert "were under way when an earlier run ended" in err
    return llm


def assert_each_labelled_once(planted: PlantedData, folder: Path) -> None:
    assert [note["query_id"] for note in notes_of(folder / "q.jsonl")] == [
        f"planted/{n}" for n in range(len(planted.text))
    ]
    assert labels_by_row(folder / "q.jsonl") == truth(planted)


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent endpoint", "endpoint that bills again"])
def test_after_a_kill_every_query_is_labelled_once_and_none_that_was_received_is_paid_twice(
    idempotent: bool, tmp_path: Path
) -> None:
    planted = plant(200, seed=4)
    llm = killed_in_the_middle(planted, tmp_path, idempotent, parallel=8)
    assert_each_labelled_once(planted, tmp_path)
    twice = [name for name, times in llm.billed.items() if times > 1]
    assert len(llm.billed) >= 200
    # An endpoint that knows no idempotency keys may have billed what was under way when the process died, no more.
    assert len(twice) <= (0 if idempotent else 8)


@pytest.mark.full
def test_five_thousand_queries_with_faults_and_a_kill_cost_nothing_twice_and_memory_stays_flat(tmp_path: Path) -> None:
    planted = plant(5000, seed=5)
    llm = killed_in_the_middle(planted, tmp_path, True, parallel=16)
    assert_each_labelled_once(planted, tmp_path)
    assert set(llm.billed.values()) == {1}
    assert len(llm.malformed) > 50
    assert llm.refused["429"] > 20


@pytest.mark.full
def test_memory_does_not_grow_with_the_number_of_queries(tmp_path: Path) -> None:
    peaks = [peak_kib(tmp_path / str(n), n) for n in (2_000, 20_000)]
    assert peaks[1] < 1.15 * peaks[0]


def peak_kib(folder: Path, n: int) -> int:
    """Peak resident memory of a run over `n` queries, in KiB."""
    folder.mkdir()
    planted = plant(500)
    texts = [f"{number} {planted.text[number % 500]}" for number in range(n)]
    queries = write_queries(folder / "q.jsonl", texts)
    with serving(LoopbackLLM(PlantedLLM(planted))) as llm:
        code = (
            "import resource, sys; from train.__main__ import main; assert main(sys.argv[1:]) == 0; "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        given = ["annotate", str(queries), "--model", "labeller", "--base-url", llm.url, "--quiet"]
        free = ["--price-in", "0", "--price-out", "0", "--out", str(folder / "notes.jsonl")]
        done = subprocess.run(
            [sys.executable, "-c", code, *given, *free], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    assert sum(1 for _ in (folder / "notes.jsonl").open()) == n
    return int(done.stdout)
