"""A tiny planted comparison from its YAML to its report, resumed, and with a training of ours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from router.encoding.torch_encoder import QueryEncoder
from train.__main__ import main
from train.compare import runner
from train.compare.predictions import Cell, read_cell
from train.compare.report.tracking import summary
from train.compare.runner import fill
from train.compare.settings import read_settings
from train.compare.stats.tally import select
from train.compare.workplace import open_workplace
from train.data_folders.synthetic.command import write_planted

pytestmark = pytest.mark.end_to_end

QUERIES = 260


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "data"
    write_planted(folder, QUERIES)
    return folder


@pytest.fixture
def comparison(world, tiny_encoder, tmp_path):
    """Writes a comparison's YAML with changes; returns its file and its output folder."""

    def write(**changes):
        raw = {
            "name": "tiny",
            "data": str(world),
            "pools": [str(world / "pool.yaml")],
            "regimes": ["in-distribution"],
            "rotations": [0, 1],
            "baselines": {"table-benchmark": [0], "constant": [0], "random": [0, 1]},
            "bootstraps": 100,
            "encoder": str(tiny_encoder),
            "cache": str(tmp_path.parent / "cache"),
            "out": str(tmp_path / "out"),
        }
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(raw | changes, sort_keys=False))
        return file, tmp_path / "out"

    return write


def train_config(world, tiny_encoder, tmp_path):
    """One epoch on the tiny encoder."""
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
         "init_args": {"dirpath": "runs/one/checkpoints", "monitor": "val/aiq_margin", "mode": "max"}},
    ]  # fmt: skip
    raw = {
        "model": {"encoder": str(tiny_encoder), "max_tokens": 48, "hidden": 16},
        "data": {"pools": [str(world / "pool.yaml")], "batch_size": 64, "minimum_count": 5},
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "num_sanity_val_steps": 0, "callbacks": callbacks},
    }
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def test_a_comparison_trains_ours_judges_all_and_reports(
    comparison, world, tiny_encoder, tmp_path, capsys, monkeypatch
):
    config = train_config(world, tiny_encoder, tmp_path)
    file, out = comparison(ours={str(config): [0]}, rotations=[0])
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--config", str(file), "--workers", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.md")
    frame = pd.read_parquet(out / "comparison.parquet")
    margins = select(frame, "aiq_margin").set_index("method")
    assert list(margins.index) == ["one", "table-benchmark", "constant", "random"]
    assert margins["value"]["table-benchmark"] > margins["value"]["constant"] > margins["value"]["random"]
    assert (margins["low"] < margins["value"]).all() and margins["p_holm"].notna().sum() == 3
    assert select(frame, "n", method="pool")["value"].item() == len(read_cell(out_cell(out)).test_rows)
    figures = summary(frame, "one")
    assert figures["in-distribution/planted/aiq_margin"] == margins["value"]["one"]
    assert not [key for key in figures if "height" in key or "strongest" in key]
    text = (out / "report.md").read_text()
    for part in (
        "# tiny",
        "## in-distribution",
        "| table-benchmark | +",
        f"--config {file}",
        "random [0, 1]",
        "▲",
    ):
        assert part in text
    assert len(list((out / "figures").glob("*.png"))) == 3
    assert all(picture.stat().st_size > 5000 for picture in (out / "figures").glob("*.png"))
    assert not (tmp_path / "runs").exists()  # ours wrote under OUT alone


def out_cell(out: Path) -> Path:
    return Cell("in-distribution", "0", "planted", "constant", 0).file(out)


def test_a_tuned_encoder_is_made_of_each_parts_training_rows_and_its_share_is_part_of_the_key(
    comparison, world, tiny_encoder, tmp_path, monkeypatch
):
    heads = train_config(world, tiny_encoder, tmp_path)
    end_to_end = tmp_path / "encoder.yaml"
    raw = yaml.safe_load(heads.read_text())
    raw["model"] |= {"freeze_encoder": False, "encoder_lr": 1e-3}
    end_to_end.write_text(yaml.safe_dump(raw))
    monkeypatch.chdir(tmp_path)

    def encoders(share):
        tuned = {str(heads): {"config": str(end_to_end), "share": share}}
        file, out = comparison(ours={str(heads): [0]}, baselines={}, tuned=tuned)
        assert main(["compare", "--config", str(file), "--workers", "1"]) == 0
        runs = [out / "fits" / "one" / "in-distribution" / part / "0" for part in ("0", "1")]
        assert not list((out / "fits").rglob("data-*"))
        return [QueryEncoder.from_pretrained(run / "encoder").encode(["prove that"]) for run in runs]

    start = QueryEncoder.from_pretrained(tiny_encoder).encode(["prove that"])
    first, second = encoders(0.5)
    assert not np.allclose(first, start) and not np.allclose(first, second)  # of other rows
    whole, _ = encoders(1.0)
    assert np.linalg.norm(whole - start) > np.linalg.norm(first - start) > 0


def test_beside_the_margin_stands_the_one_at_equal_answer_lengths(comparison):
    file, out = comparison(rotations=[0], baselines={"table-benchmark": [0], "constant": [0]})
    assert main(["compare", "--config", str(file), "--workers", "1"]) == 0
    frame = pd.read_parquet(out / "comparison.parquet")
    margins, even = (
        select(frame, metric).set_index("method")["value"] for metric in ("aiq_margin", "aiq_equal_lengths_margin")
    )
    assert even["table-benchmark"] > even["constant"] and not np.allclose(even, margins)
    assert "### AIQ over the Zero router if all answers were equally long" in (out / "report.md").read_text()


def test_at_equal_lengths_costs_differ_by_prices_alone(comparison):
    file, _ = comparison()
    place = open_workplace(read_settings(file))
    pool, outcomes = place.pools["planted"], place.outcomes["planted"]
    even = place.at_equal_lengths(pool, outcomes)
    assert np.array_equal(even.score, outcomes.score) and np.array_equal(even.rows, outcomes.rows)
    facts = [candidate.facts for candidate in pool.candidates]
    price = np.array([[each.input_usd_per_mtok, each.output_usd_per_mtok] for each in facts])
    tokens = np.linalg.lstsq(price, even.realised_usd[0] * 1e6, rcond=None)[0]
    length = np.nanmean(place.dataset.output_tokens[even.rows][:, place.columns(pool)])
    assert tokens == pytest.approx([place.dataset.input_tokens[even.rows[0]], length], rel=1e-5)
    nobody_knows = np.full_like(place.dataset.output_tokens, np.nan)
    unknown = replace(place, dataset=replace(place.dataset, output_tokens=nobody_knows))
    assert unknown.at_equal_lengths(pool, outcomes) is None


def test_a_second_run_skips_finished_cells_and_a_changed_setting_makes_them_anew(comparison, monkeypatch):
    asked = []
    original = runner.METHODS["constant"]

    def counted():
        asked.append("constant")
        return original()

    monkeypatch.setitem(runner.METHODS, "constant", counted)
    changes = {"baselines": {"constant": [0]}}
    file, out = comparison(**changes)
    fill(open_workplace(read_settings(file)), 1, progress=False)
    assert len(asked) == 2
    fill(open_workplace(read_settings(file)), 1, progress=False)
    assert len(asked) == 2
    out_cell(out).unlink()
    fill(open_workplace(read_settings(file)), 1, progress=False)
    assert len(asked) == 3
    file, _ = comparison(**changes, max_tokens=32)
    fill(open_workplace(read_settings(file)), 1, progress=False)
    assert len(asked) == 5


def test_a_run_that_fails_keeps_the_cells_before(comparison, monkeypatch):
    def broken():
        raise KeyboardInterrupt

    monkeypatch.setitem(runner.METHODS, "constant", broken)
    file, out = comparison(baselines={"table-benchmark": [0], "constant": [0]})
    assert main(["compare", "--config", str(file), "--workers", "1"]) == 130
    assert [each.name for each in out.rglob("*.npz")] == ["table-benchmark-0.npz"]


def test_few_rows_draw_training_rows_by_the_seed_and_judge_by_one_yardstick(comparison):
    file, out = comparison(regimes=["few-rows"], rotations=[0], shares=[0.2], baselines={"constant": [0, 1]})
    place = open_workplace(read_settings(file))
    fill(place, 1, progress=False)
    cells = [read_cell(Cell("few-rows-0.2", "0", "planted", "constant", seed).file(out)) for seed in (0, 1)]
    assert np.array_equal(cells[0].test_rows, cells[1].test_rows)
    assert not np.allclose(cells[0].quality, cells[1].quality)
    (regime,) = place.regimes
    yardsticks = [place.rows(regime, "0", seed).yardstick for seed in (0, 1)]
    first, second = (place.references(regime, "0", "planted", each) for each in yardsticks)
    assert first == second


def test_baselines_see_no_outcome_of_a_test_row(comparison, monkeypatch):
    file, _ = comparison(rotations=[3], baselines={"constant": [0]})
    seen = []

    class Spy:
        def fit(self, task, seed):
            seen.append(task)

        def predict(self, queries):
            return np.zeros((len(queries.input_tokens), 10))

    monkeypatch.setitem(runner.METHODS, "constant", Spy)
    place = open_workplace(read_settings(file))
    fill(place, 1, progress=False)
    rows = place.rows(place.regimes[0], "3", 0)
    outcomes = place.outcomes["planted"]
    assert np.array_equal(seen[0].train_outcomes.score, outcomes.take(rows.train).score)
    assert np.array_equal(seen[0].val_outcomes.score, outcomes.take(rows.val).score)
    labelled = ~np.isnan(seen[0].train.llm_labels).any(axis=1)
    assert 0 < labelled.sum() < len(labelled)
    assert (seen[0].expected_cost > 0).all()


@pytest.fixture(scope="module")
def holes(tmp_path_factory):
    """A planted folder in which one model was measured on coding alone, another on coding and half of the rest."""
    folder = tmp_path_factory.mktemp("holes") / "data"
    write_planted(folder, 500)
    queries, outcomes = (pd.read_parquet(folder / f"{name}.parquet") for name in ("queries", "outcomes"))
    benchmark = outcomes["query_id"].map(queries.set_index("query_id")["benchmark"]).astype(str)
    rest, thinned = benchmark != "planted-coding", outcomes["query_id"].str[-1].astype(int) % 2 == 0
    gone = (outcomes["model"] == "planted-coder") | ((outcomes["model"] == "planted-tiny") & thinned)
    outcomes[~(rest & gone)].to_parquet(folder / "outcomes.parquet")
    return folder


def test_left_out_benchmarks_are_judged_in_pools_with_holes(comparison, holes, tiny_encoder, tmp_path, monkeypatch):
    config = train_config(holes, tiny_encoder, tmp_path)
    raw = yaml.safe_load(config.read_text())
    raw["data"]["pools"] = [str(small_pool(holes, tmp_path))]
    config.write_text(yaml.safe_dump(raw))
    changes = {
        "data": str(holes),
        "pools": [str(holes / "pool.yaml")],
        "regimes": ["leave-one-out"],
        "benchmarks": ["planted-coding", "planted-writing"],
        "ours": {str(config): [0]},
        "baselines": {"ridge": [0], "best-single": [0], "knn": [0]},
    }
    file, out = comparison(**changes)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--config", str(file), "--workers", "1"]) == 0
    frame = pd.read_parquet(out / "comparison.parquet")
    coding = {"method": "pool", "part": "planted-coding"}
    counts = [select(frame, name, **coding)["value"].item() for name in ("members", "members_given")]
    assert counts == [9, 10]
    margins = select(frame, "quality_margin", part="planted-coding").set_index("method")["value"]
    assert margins["best-single"] == 0 and not margins.isna().any()
    assert select(frame, "shuffled_margin", method="best-single")["value"].item() == pytest.approx(0, abs=1e-12)
    text = (out / "report.md").read_text()
    assert text.count("| planted-coding | planted | ") == text.count("| mean over benchmarks |  |  |  | ") == 4
    assert "| 9 of 10 |" in text


def small_pool(folder, tmp_path):
    """A pool of the models that were measured everywhere."""
    pool = yaml.safe_load((folder / "pool.yaml").read_text())
    pool["models"] = [each for each in pool["models"] if each["id"] not in ("planted-coder", "planted-tiny")]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(pool))
    return tmp_path / "small.yaml"


def test_mistakes_are_one_line(comparison, capsys):
    for changes, message in (
        ({"benchmarks": ["planted-coding"], "regimes": ["ood"]}, "no row of split ood"),
        ({"flips": "flips.parquet"}, "'flips': unknown key"),
        ({"pools": ["missing.yaml"]}, "missing.yaml"),
    ):
        file, _ = comparison(**changes)
        assert main(["compare", "--config", str(file)]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("train: error: ") and message in error
