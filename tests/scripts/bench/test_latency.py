"""`python scripts/bench/latency.py`: its arithmetic, and once as a command; no time is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[3]
sys.path.insert(0, str(REPOSITORY / "scripts" / "bench"))

import latency as bench_latency  # noqa: E402
import timing as bench_timing  # noqa: E402

from train.data_folders.synthetic.command import write_planted  # noqa: E402

pytestmark = pytest.mark.end_to_end


def test_a_query_has_exactly_the_tokens_asked_for():
    assert bench_latency.query_of(5, lambda texts: [["[CLS]", *text.split(), "[SEP]"] for text in texts]) == (
        "prove that the"
    )
    with pytest.raises(SystemExit, match="this encoder reads no 5 tokens of"):
        bench_latency.query_of(5, lambda texts: [[1, 2]])


def test_quantiles_are_of_all_times_and_the_spread_is_of_the_medians_of_rounds():
    figures = bench_timing.quantiles([[1.0, 2.0, 9.0], [5.0, 6.0, 7.0]])
    assert (figures["p50"], figures["least"], figures["most"]) == (5.5, 2.0, 6.0)
    assert figures["typical"] == np.mean([3.0, 4.0, 8.0])  # of the first step 1 and 5, of the second 2 and 6, ...


def test_every_backend_and_part_is_measured_in_processes_of_their_own(tiny_router):
    command = [sys.executable, REPOSITORY / "scripts" / "bench" / "latency.py", tiny_router, "--json"]
    command += ["--lengths", "30", "--rounds", "1", "--repeats", "1", "--starts", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert list(figures["times_ms"]) == list(figures["starts"]) == list(bench_latency.BACKENDS)
    for backend in bench_latency.BACKENDS:
        assert list(figures["times_ms"][backend]["30"]) == list(bench_latency.PARTS)
        assert figures["starts"][backend]["resident_mib"] > 10
    rows = bench_latency.markdown(figures).splitlines()
    assert [row.split(" | ")[1] for row in rows if row.startswith("| 30 |")] == list(bench_latency.BACKENDS)


def test_drawn_queries_are_measured_each_in_turn_and_their_ratio_is_of_their_means(tiny_router, tmp_path):
    write_planted(tmp_path / "data", 200)
    command = [sys.executable, REPOSITORY / "scripts" / "bench" / "latency.py", tiny_router, "--json", "--drawn", "3"]
    command += ["--lengths", "30", "--rounds", "2", "--repeats", "1", "--starts", "1"]
    data = os.environ | {"ROUTEMIX_DIR": str(tmp_path / "data")}
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=data).stdout)
    assert all(list(each) == ["30", "drawn"] for each in figures["times_ms"].values())
    for part, typical in zip(bench_latency.PARTS, (3.0, 0.5, 1.5, 0.1), strict=True):
        figures["times_ms"]["onnx"]["drawn"][part] |= {"typical": typical, "p50": 1.0}
    row = next(each for each in bench_latency.markdown(figures).splitlines() if each.startswith("| drawn | onnx |"))
    assert row.split(" | ")[-2] == "1.50"


def test_steps_are_timed_in_turn_each_at_least_once():
    seen = []
    assert len(bench_latency._times([lambda: seen.append(0), lambda: seen.append(1)], 3)) == len(seen) == 4
    assert seen == [0, 1, 0, 1]
