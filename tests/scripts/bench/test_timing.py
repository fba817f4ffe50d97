"""Timing code of the benchmarks: quantiles, texts of a length, processes that answer line by line."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts" / "bench"))

from timing import Worker, resident_mib, seconds, spread, text_of


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
