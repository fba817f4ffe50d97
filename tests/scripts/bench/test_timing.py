"""Timing code of the benchmarks: quantiles, texts of a length, processes that answer line by line."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts" / "bench"))

from timing import (
    Worker,
    environment,
    in_turns,
    in_words,
    quickstart_pairs,
    resident_mib,
    seconds,
    spread,
    table,
    text_of,
)


def test_a_call_takes_time_and_a_spread_is_two_quantiles_about_the_median():
    assert seconds(lambda: sum(range(1000))) > 0
    assert spread([float(n) for n in range(11)]) == (1.0, 5.0, 9.0)
    assert resident_mib() > 1 or sys.platform != "linux"


def test_a_text_has_a_word_for_each_token_but_the_special_ones():
    assert text_of(12).split()[:2] == ["prove", "that"] and len(text_of(12).split()) == 10


def test_a_worker_answers_a_line_for_each_number_and_its_end_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/bench/peers.py"])
    worker = Worker([sys.executable, "-c", "print('[0]', flush=True); print([int(input())]); raise SystemExit(3)"])
    assert worker.read() == [0] and worker.measure(7) == [7]
    with pytest.raises(SystemExit, match=r"^peers: error: a process ended with exit code 3; see above"):
        worker.read()
    worker.close()


class Counting:
    """In place of a worker: the n-th round takes n."""

    def __init__(self):
        self.rounds = 0

    def measure(self, repeats):
        self.rounds += 1
        return {"8": {"decision": [float(self.rounds)] * repeats}}


def test_workers_take_turns_and_the_first_round_is_not_counted():
    figures = in_turns({"one": Counting(), "other": Counting()}, rounds=3, repeats=2)
    assert figures["one"] == figures["other"]
    assert figures["one"]["8"]["decision"] | {"p99": 4.0} == {
        "p50": 3.0, "p95": 4.0, "p99": 4.0, "least": 2.0, "most": 4.0, "typical": 3.0
    }  # fmt: skip


def test_tables_pairs_and_the_machine_are_written_out():
    assert table(("a", "b"), [("x", 1)]).splitlines() == ["| a | b |", "|---|---|", "| x | 1 |"]
    pairs = quickstart_pairs()
    assert len(set(pairs)) == len(pairs) == round(len(pairs) ** 0.5) ** 2
    assert in_words({"python": "3.11", "gpu": None}) == "python 3.11" and environment("numpy")["numpy"]
