"""Published scores of a folder's own table: which are read, and of whom."""

from types import SimpleNamespace

import pandas as pd

from router.pools.models import System
from train.data.published_scores import FEWEST, FILE, published_scores

SYSTEMS = [System(f"m{number}", protocol) for protocol in ("a", "b") for number in range(FEWEST)]


def written(folder, rows):
    pd.DataFrame(rows, columns=["model", "benchmark", "score", "unit"]).to_parquet(folder / FILE)
    return SimpleNamespace(folders=(folder,))


def of_all(benchmark, score=0.5, unit="fraction", count=FEWEST):
    return [(f"m{number}", benchmark, score, unit) for number in range(count)]


def test_a_system_has_the_median_of_its_scores_under_each_protocol(tmp_path):
    rows = [*of_all("gpqa"), ("m0", "gpqa", 0.9, "fraction"), ("m0", "gpqa", 0.8, "fraction"), *of_all("hle", 0.1)]
    found = published_scores(written(tmp_path, rows), SYSTEMS, ["ikp"])
    assert len(found.score) == 4 * FEWEST and set(found.benchmark.tolist()) == {0, 1}
    first = {row: score for row, b, score in zip(*(part.tolist() for part in found), strict=True) if b == 0}
    assert abs(first[0] - 0.8) < 1e-6 and abs(first[FEWEST] - 0.8) < 1e-6 and first[1] == 0.5


def test_indices_rare_benchmarks_and_values_beyond_the_range_are_not_read(tmp_path):
    rows = [*of_all("index", 40.0, "index"), *of_all("rare", count=FEWEST - 1), *of_all("odd", 1.5)]
    assert len(published_scores(written(tmp_path, rows), SYSTEMS, ["ikp"]).score) == 0


def test_what_is_left_out_of_training_is_left_out_here(tmp_path):
    dataset = written(tmp_path, [*of_all("mmlu_pro"), *of_all("gsm8k"), *of_all("swe_bench_verified")])
    assert len(published_scores(dataset, SYSTEMS, ["ikp", "swe-verified"]).score) == 0
    assert len(published_scores(dataset, SYSTEMS, ["gsm8k", "swe-verified"]).score) == 2 * FEWEST
    assert len(published_scores(dataset, SYSTEMS, ["gsm8k", "mmlu-redux"]).score) == 4 * FEWEST


def test_a_folder_without_the_table_has_none(tmp_path):
    assert [len(part) for part in published_scores(SimpleNamespace(folders=(tmp_path,)), SYSTEMS, [])] == [0, 0, 0]
