"""`scripts/bench_peers.py`, `bench_training.py` and `bench_encoder.py` once as commands; no time is judged."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_peers  # noqa: E402


def test_every_way_is_measured_at_every_length_beside_the_limit(tiny_router):
    command = [sys.executable, SCRIPTS / "bench_peers.py", tiny_router, "--json", "--lengths", "8", "20"]
    done = subprocess.run([*command, "--rounds", "1", "--repeats", "1"], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert list(figures) == [bench_peers.LIMIT, bench_peers.OURS, "kNN", "matrix factorisation"]
    assert all(list(by) == ["8", "20"] and by["8"]["least"] > 0 for by in figures.values())
    rows = bench_peers.markdown(figures, [8, 20]).splitlines()
    assert len(rows) == 6 and rows[2].count(" 1.00 ") == 2


def test_an_environment_without_semantic_router_is_one_line(tiny_router):
    command = [sys.executable, SCRIPTS / "bench_peers.py", tiny_router, "--semantic-router", sys.executable]
    done = subprocess.run([*command, "--lengths", "8", "--rounds", "1"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("bench_peers: error: a process ended")


def test_training_steps_are_timed_after_those_that_warm_up(tmp_path):
    command = [sys.executable, SCRIPTS / "bench_training.py", SCRIPTS.parent / "configs" / "demo.yaml"]
    command += ["--steps", "4", "--warm-up", "1", "--data.planted_queries", "300"]
    command += ["--data.folder", tmp_path / "data", "--data.pools", f"[{tmp_path / 'data' / 'pool.yaml'}]"]
    done = subprocess.run(
        [*command, "--data.cache", tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["steps"] == 3 and figures["samples_per_s"] > 0
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".npy") == ["data"]


def test_the_encoder_is_measured_in_each_precision_with_its_share_of_the_peak(tiny_router):
    command = [sys.executable, SCRIPTS / "bench_encoder.py", "--checkpoint", tiny_router, "--tokens", "5"]
    command += ["--batches", "2", "3", "--repeats", "1", "--peak-tflops", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["rows"]
    assert [(row["batch"], row["precision"]) for row in rows] == [(2, "bf16"), (2, "fp32"), (3, "bf16"), (3, "fp32")]
    assert all(row["of_peak"] == row["tflops"] > 0 for row in rows)
