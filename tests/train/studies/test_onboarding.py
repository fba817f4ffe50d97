"""Models left out and onboarded again, on a planted world with untrained networks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from router.arrays import clipped_sigmoid
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.evaluation.dataset import read_dataset
from router.network.torch_network import RouterNetwork
from router.onboarding.profile_fit import ProfilePrior
from router.pools.pool import read_pool
from train.__main__ import main
from train.compare import ours
from train.compare.regimes import Rows
from train.export.benchmarks import benchmark_scores
from train.studies import onboarding as onboarding_study


def test_every_model_is_in_one_group(planted_checkpoint: tuple[Path, Path]) -> None:
    dataset = read_dataset(planted_checkpoint[0])
    pool = read_pool(planted_checkpoint[0] / "pool.yaml", dataset.systems)
    groups = onboarding_study.left_out_groups(dataset, [pool, pool], 3, seed=0)
    assert sorted(model for group in groups for model in group) == sorted(pool.ids)
    assert {len(group) for group in groups} == {3, 4}
    assert groups != onboarding_study.left_out_groups(dataset, [pool], 3, seed=1)


def test_a_view_without_models_holds_no_outcome_of_theirs_and_no_pool_names_them(
    planted_checkpoint: tuple[Path, Path], tmp_path: Path
) -> None:
    dataset = read_dataset(planted_checkpoint[0])
    place = np.arange(len(dataset.queries)) % 3
    ours.write_view(dataset, Rows(place == 0, place == 1, place == 2, place == 0), tmp_path, ["planted-tiny"])
    left = {system.model for system in read_dataset(tmp_path).systems}
    assert left == {system.model for system in dataset.systems} - {"planted-tiny"}
    (copy,) = ours.reduced_pools([str(planted_checkpoint[0] / "pool.yaml")], ["planted-tiny"], tmp_path)
    assert set(read_pool(copy, dataset.systems).ids) == left


@pytest.fixture
def untrained(planted_checkpoint: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """In place of training: the planted checkpoint less the models that are left out. Records who that was."""
    asked: list[list[str]] = []

    def fit(config, seed, dataset, rows, run, key, cache, without=()):
        asked.append(list(without))
        checkpoint = load_checkpoint(planted_checkpoint[1])
        kept = [m for m, system in enumerate(checkpoint.systems) if system.model not in without]
        network = RouterNetwork(replace(checkpoint.network.size, systems=len(kept)), torch.zeros(len(kept)))
        network.heads = checkpoint.network.heads
        old = checkpoint.network.profiles.state_dict()
        network.profiles.load_state_dict({name: tensor[kept] for name, tensor in old.items()})
        systems = tuple(checkpoint.systems[m] for m in kept)
        pool = checkpoint.pools[checkpoint.default_pool]
        members = tuple(c for c in pool.candidates if c.system in systems)
        save_checkpoint(
            replace(
                checkpoint,
                network=network,
                systems=systems,
                models={s.model: checkpoint.models[s.model] for s in systems},
                pools={pool.name: replace(pool, candidates=members)},
                benchmarks=benchmark_scores(dataset, np.flatnonzero(rows.train), systems),
            ),
            run,
        )
        return run

    monkeypatch.setattr(ours, "fit", fit)
    monkeypatch.setattr(ours, "is_frozen", lambda training: True)
    monkeypatch.setattr(
        ours,
        "cached_encoder",
        lambda training, texts, cache: ours.CachedEncoder(
            load_checkpoint(planted_checkpoint[1]).encoder, texts, Path(cache)
        ),
    )
    return asked


def test_the_study_judges_every_model_by_a_network_that_never_saw_it(
    planted_checkpoint: tuple[Path, Path],
    untrained: list[list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = planted_checkpoint[0], tmp_path / "out"
    arguments = ["--data", str(data), "--pools", str(data / "pool.yaml"), "--groups", "2", "--draws", "2"]
    assert main(["onboarding", *arguments, "--answers", "5", "20", "--out", str(out), "--cache", str(tmp_path)]) == 0
    models = set(read_pool(data / "pool.yaml", None).ids)
    assert untrained[0] == [] and set(untrained[1]) | set(untrained[2]) == models
    found = json.loads((out / "onboarding.json").read_text())
    assert {row["model"] for row in found["models"]} == models
    ways = {(row["way"], row["n"]) for row in found["summary"]}
    assert {("onboarded", 5), ("onboarded", 20), ("anchors", 5), ("anchors", 20), ("price", 0)} <= ways
    assert all(row["models"] == len(models) and np.isfinite(row["excess"]) for row in found["summary"])
    one = next(row for row in found["summary"] if (row["way"], row["n"]) == ("onboarded", 20))
    drawn = [row for row in found["models"] if (row["way"], row["n"]) == ("onboarded", 20)]
    means = [np.mean([row["excess"] for row in drawn if row["model"] == model]) for model in models]
    assert (one["excess"], one["worst"]) == pytest.approx((np.mean(means), max(means)))
    table = (out / "onboarding.md").read_text()
    assert table in capsys.readouterr().out + "\n" and table.count("\n| ") == 1 + len(found["summary"])


N, F = 60, 3


def test_forty_answers_beat_the_prior() -> None:
    generator = np.random.default_rng(0)
    known = np.column_stack([generator.normal(size=(N, F - 1)), np.ones(N)])
    score = (generator.random(N) < clipped_sigmoid(known @ np.array([2.0, -1.0, 0.5]))).astype(float)
    prior = ProfilePrior(np.zeros(F), 2 * np.eye(F), np.zeros((1, F)))
    quality = onboarding_study.onboarded(known, score, prior, np.arange(40))
    before = onboarding_study.log_loss(np.full(10, 0.5), score[50:])
    assert onboarding_study.log_loss(quality[50:], score[50:]) < before
    rows = onboarding_study.anchored(known, prior, np.arange(40), 12, generator)
    assert len(set(rows.tolist())) == 12 and set(rows.tolist()) <= set(range(40))


def test_zero_draws_are_refused(planted_checkpoint: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onboarding", "--data", str(planted_checkpoint[0]), "--draws", "0"]) == 1
    assert "must be at least 1" in capsys.readouterr().err
