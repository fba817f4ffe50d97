"""`scripts/bench/*.py` once as commands: training, encoder, throughput, topk; fairness; no time is judged."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts" / "bench"
sys.path.insert(0, str(SCRIPTS))

import encoder as bench_encoder  # noqa: E402
import fairness as bench_fairness  # noqa: E402

pytestmark = pytest.mark.end_to_end


def test_training_steps_are_timed_after_those_that_warm_up(tmp_path):
    command = [sys.executable, SCRIPTS / "training.py", SCRIPTS.parents[1] / "configs" / "demo.yaml"]
    command += ["--steps", "4", "--warm-up", "1", "--data.planted_queries", "300"]
    command += ["--data.folder", tmp_path / "data", "--data.pools", f"[{tmp_path / 'data' / 'pool.yaml'}]"]
    done = subprocess.run(
        [*command, "--data.cache", tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["steps"] == 3 and figures["samples_per_s"] > 0
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".npy") == ["data"]


def test_the_encoder_is_measured_in_each_way_with_its_shares_of_peak_and_roofline(tiny_router):
    command = [sys.executable, SCRIPTS / "encoder.py", "--checkpoint", tiny_router, "--tokens", "5"]
    command += ["--batches", "2", "3", "--repeats", "1", "--peak-tflops", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["rows"]
    runs = [("bf16", "eager"), ("bf16", "packed"), ("bf16", "packed, fused gelu"), ("fp32", "eager")]
    assert [(row["batch"], row["precision"], row["run"]) for row in rows] == [(b, *run) for b in (2, 3) for run in runs]
    assert all(row["of_peak"] == row["tflops"] > 0 and row["cosine"] > 0.999 for row in rows)
    assert all(("of_roofline" in row) == (row["precision"] == "bf16") for row in rows)
    assert len(done.stderr.strip().splitlines()) == 2 + 2 + len(rows)


def test_ways_that_give_other_embeddings_or_fail_keep_their_rows_and_end_with_one(tiny_router, monkeypatch, capsys):
    def failing(network, packed, wanted, pooling):
        if network.fused_gelu:
            raise RuntimeError("no such kernel")
        return [-each for each in computing(network, packed, wanted, pooling)]

    computing = bench_encoder.PackedBert.__call__
    monkeypatch.setattr(bench_encoder.PackedBert, "__call__", failing)
    arguments = ["--checkpoint", str(tiny_router), "--tokens", "5", "--batches", "2", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["encoder.py", *arguments, "--precisions", "bf16"])
    assert bench_encoder.main() == 1
    eager, wrong, failed = json.loads(capsys.readouterr().out)["rows"]
    assert not eager["wrong"] and wrong["wrong"] and wrong["ms"] > 0
    assert failed["error"] == "RuntimeError: no such kernel"


def test_throughput_is_measured_at_the_settings_asked_for_beside_its_limits(tiny_router):
    command = [sys.executable, SCRIPTS / "throughput.py", "--checkpoint", tiny_router, "--queries", "9"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--settings", "2x3", "4x1"], capture_output=True, text=True, check=True
    )
    rows = json.loads(done.stdout)["rows"]
    assert [(row["batch_size"], row["together"]) for row in rows] == [(2, 6), (4, 4)]
    assert all(row["per_second"] > 0 and row["share_of_tokenisation"] > 0 for row in rows)
    assert len(done.stderr.splitlines()) == 4


def test_the_best_of_a_large_pool_are_held_against_the_exact_ones(planted_checkpoint):
    command = [sys.executable, SCRIPTS / "topk.py", "--checkpoint", planted_checkpoint[1], "--sizes", "700"]
    command += ["--queries", "9", "--groups", "16", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)["rows"]
    assert [row["way"] for row in rows] == ["chunks, float32", "two passes, torch, groups of 16"]
    assert all(row["right"] and row["same_rows"] == 1 and row["ms"] > 0 for row in rows)


def test_the_report_on_fairness_compares_with_the_idle_median_and_the_other_checkout():
    found = {
        "idle": [5.0] * 199 + [50.0],
        "beside": [float(n) for n in range(200)],
        "queries_per_s": {"here": [90.0, 95.0, 10.0], "against": [100.0]},
    }
    args = Namespace(lone=200, batches=4, size=1000, against=Path("other"))
    lines = bench_fairness.report(found, args).splitlines()
    assert lines[-4:] == [
        "| idle | 5.0 | 5.0 | 50.0 | 1.0 |",
        "| beside 4 batches of 1,000 | 99.5 | 190.0 | 199.0 | 38.0 |",
        "",
        "One batch of 1,000 alone: 90 queries/s, 0.90 of the other checkout's 100.",
    ]
