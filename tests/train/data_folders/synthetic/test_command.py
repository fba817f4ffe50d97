"""Planted data: a folder that reads like any other, whose truth is worth learning and can be learned from text."""

import json
import os
import re
from collections import Counter

import numpy as np
import pytest

from router.errors import UsageError
from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import pool_outcomes
from router.network.taxonomy import CAPABILITIES, rank_weights
from router.pools.pool import read_pool
from train.__main__ import main
from train.data_folders.synthetic import command
from train.data_folders.synthetic.command import write_planted
from train.data_folders.synthetic.generate import (
    DIFFICULTIES,
    DOMAINS,
    LENGTH_FACTORS,
    MODELS,
    WORDINGS,
    plant,
    skills_of,
)
from train.fit.closed_form import ClosedForm

FILES = {"queries.parquet", "outcomes.parquet", "annotations.jsonl", "models.csv", "pool.yaml", "planted.json"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "data"
    return folder, write_planted(folder, seed=1)


@pytest.fixture(scope="module")
def dataset(written):
    return read_dataset(written[0])


def test_the_folder_reads_without_a_warning_and_row_and_column_are_those_of_the_truth(written, caplog):
    folder, planted = written
    dataset = read_dataset(folder)
    assert not caplog.records
    assert {path.name for path in folder.iterdir()} == FILES
    assert dataset.queries["text"].tolist() == list(planted.text)
    assert [system.model for system in dataset.systems] == [model.name for model in MODELS]
    assert np.array_equal(dataset.score, planted.score)
    assert np.array_equal(dataset.output_tokens, (planted.output_chars / 4).astype(np.float32))
    assert dataset.measured.all()
    assert set(dataset.queries["query_id"]) == set(planted.query_ids)


def test_the_columns_are_those_of_routemix_open(dataset):
    columns = "query_id benchmark category text split fold group ood_twin"
    assert dataset.queries.columns.tolist() == columns.split()
    assert len(set(dataset.queries["benchmark"])) == len(CAPABILITIES) == 9
    assert len(set(dataset.queries["category"])) == len(DOMAINS) >= 12
    assert all(facts.priced for facts in dataset.models.values())


def test_splits_follow_folds_and_folds_follow_groups(dataset):
    queries = dataset.queries
    expected = np.select([queries["fold"] < 7, queries["fold"] == 7], ["train", "val"], "test")
    assert queries["split"].tolist() == expected.tolist()
    assert (queries.groupby("group")["fold"].nunique() == 1).all()
    assert queries["fold"].value_counts().between(230, 370).all()  # 3,000 in ten parts
    assert not queries["ood_twin"].any()


def test_the_pool_beside_the_data_holds_all_ten_models_on_every_query(written, dataset):
    pool = read_pool(written[0] / "pool.yaml", dataset.systems)
    assert (pool.name, len(pool.candidates)) == ("planted", 10)
    assert pool_outcomes(dataset, pool).score.shape == (3000, 10)
    for candidate in pool.candidates:
        facts = dataset.models[candidate.id]
        assert (candidate.facts.input_usd_per_mtok, candidate.facts.output_usd_per_mtok) == (
            facts.input_usd_per_mtok,
            facts.output_usd_per_mtok,
        )


def test_quality_is_the_sigmoid_of_bias_and_skills_weighed_by_need_less_difficulty():
    planted = plant(40, seed=3)
    row = next(i for i in range(40) if len(planted.capabilities[i]) == 2)
    first, second = planted.capabilities[row]
    known = planted.domains[row]
    for column, model in enumerate(MODELS):
        logit = model.bias + 2 / 3 * model.skills.get(first, 0) + 1 / 3 * model.skills.get(second, 0)
        logit += sum(w * model.skills.get(k, 0) for w, k in zip(rank_weights(len(known)), known, strict=True))
        logit -= planted.difficulty[row]
        assert planted.quality[row, column] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def test_outcomes_are_drawn_at_the_true_rates(written):
    planted = written[1]
    assert set(np.unique(planted.score)) == {0.0, 1.0}
    noise = np.sqrt((planted.quality * (1 - planted.quality)).mean(axis=0) / len(planted.score))
    assert (np.abs(planted.score.mean(axis=0) - planted.quality.mean(axis=0)) < 4 * noise).all()


def test_answer_lengths_are_log_normal_around_what_model_and_query_make_usual(written):
    planted = written[1]
    usual = np.log([model.usual_chars for model in MODELS])[None] + np.log(
        [LENGTH_FACTORS[needed[0]] for needed in planted.capabilities]
    ).reshape(-1, 1)
    spread = np.log(planted.output_chars) - usual - 0.15 * planted.difficulty[:, None]
    assert spread.mean() == pytest.approx(0.0, abs=0.01)
    assert spread.std() == pytest.approx(0.35, abs=0.01)


def test_knowing_the_truth_beats_the_best_single_model_clearly_and_for_less_money(written, dataset):
    quality = written[1].quality
    best, chosen, rows = int(quality.mean(axis=0).argmax()), quality.argmax(axis=1), np.arange(len(quality))
    assert MODELS[best].name == "planted-large"
    assert quality[rows, chosen].mean() - quality[:, best].mean() > 0.10
    assert 0.05 < (chosen == best).mean() < 0.30  # the expensive model is worth its price on some queries only
    realised = pool_outcomes(dataset, read_pool(written[0] / "pool.yaml", dataset.systems)).realised_usd
    assert realised[rows, chosen].mean() < 0.5 * realised[:, best].mean()
    assert realised.mean(axis=0).max() > 50 * realised.mean(axis=0).min()


def test_a_linear_model_on_bags_of_words_recovers_most_of_the_gap(written, dataset):
    planted = written[1]
    words = [set(re.findall(r"\w+", text.lower())) for text in planted.text]
    vocabulary = sorted(w for w, n in Counter(w for bag in words for w in bag).items() if n >= 10)
    bags = np.array([[w in bag for w in vocabulary] + [True] for bag in words], np.float64)
    train = (dataset.queries["fold"] < 7).to_numpy()
    gram = bags[train].T @ bags[train] + 20 * np.eye(bags.shape[1])
    predicted = bags[~train] @ np.linalg.solve(gram, bags[train].T @ planted.score[train])
    truth = planted.quality[~train]
    best = truth[:, planted.score[train].mean(axis=0).argmax()].mean()
    routed = truth[np.arange(len(truth)), predicted.argmax(axis=1)].mean()
    assert (routed - best) / (truth.max(axis=1).mean() - best) > 0.5


def test_the_closed_form_finds_every_specialist(written):
    """Where a model has the greatest skill, its closed-form entry is the greatest of the specialists'."""
    planted = written[1]
    weights = np.zeros((len(planted.text), len(CAPABILITIES)))
    for row, needed in enumerate(planted.capabilities):
        weights[row, [CAPABILITIES.index(name) for name in needed]] = rank_weights(len(needed))
    specialists = [column for column, model in enumerate(MODELS) if max(model.skills.values()) > 2]
    skills = skills_of(CAPABILITIES)[specialists]
    profile = ClosedForm().fit(weights, planted.score[:, specialists]).profile
    marked = skills.max(axis=0) > 3.5
    assert marked.sum() == 8
    assert (profile.argmax(axis=0) == skills.argmax(axis=0))[marked].all()


def test_annotations_are_the_truth_but_for_a_few_slips(written, dataset):
    planted = written[1]
    assert 0.65 < len(dataset.annotations) / len(planted.text) < 0.75
    rows = {query_id: row for row, query_id in enumerate(planted.query_ids)}
    firsts = [(note, rows[note.query_id]) for note in dataset.annotations]
    capability = np.mean([note.capabilities[0] == planted.capabilities[row][0] for note, row in firsts])
    domain = np.mean([note.knowledge[0] == planted.domains[row][0] for note, row in firsts])
    assert all(note.difficulty == planted.level[row] for note, row in firsts)
    assert np.array_equal(np.array([logits for logits, _ in DIFFICULTIES])[planted.level - 1], planted.difficulty)
    assert 0.95 < capability < 1.0
    assert 0.92 < domain < 1.0
    assert {note.annotator for note in dataset.annotations} == {"llm-a"}
    assert {name for note in dataset.annotations for name in note.capabilities} == set(CAPABILITIES)


def test_texts_are_varied_and_no_blank_stays_open(written):
    planted = written[1]
    assert len(set(planted.text)) > 0.99 * len(planted.text)
    assert not [text for text in planted.text if re.search(r"[{}]", text)]
    assert set(WORDINGS) == set(CAPABILITIES) == set(LENGTH_FACTORS)
    assert all(len(w["openings"]) * len(w["tasks"]) >= 36 for w in WORDINGS.values())
    assert {skill for model in MODELS for skill in model.skills} <= {*CAPABILITIES, *DOMAINS}
    assert [model.name for model in MODELS] == sorted(model.name for model in MODELS)
    assert len({hard for hard, _ in DIFFICULTIES}) == len(DIFFICULTIES)


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_planted(tmp_path / name, queries=30, seed=seed)
    same, other = tmp_path / "a", tmp_path / "c"
    assert all((same / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in FILES)
    assert read_dataset(same).queries["text"].tolist() != read_dataset(other).queries["text"].tolist()


def test_a_planted_folder_is_replaced_and_nothing_else_is(tmp_path):
    write_planted(tmp_path / "data", queries=20)
    write_planted(tmp_path / "data", queries=11)
    assert json.loads((tmp_path / "data" / "planted.json").read_text()) == {"queries": 11, "seed": 0}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "queries.parquet").write_text("precious")
    with pytest.raises(UsageError, match="mine exists and is no planted folder: name a new one, or delete it"):
        write_planted(tmp_path / "mine", queries=11)
    assert (tmp_path / "mine" / "queries.parquet").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["data", "mine"]  # nothing temporary is left


def test_a_write_that_fails_leaves_the_folder_of_before(tmp_path, monkeypatch):
    write_planted(tmp_path / "data", queries=20)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "_models", full)
    with pytest.raises(UsageError, match=r"cannot write .*data: .*No space left on device; name a folder"):
        write_planted(tmp_path / "data", queries=11)
    assert len(read_dataset(tmp_path / "data").queries) == 20
    assert os.listdir(tmp_path) == ["data"]


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    write_planted(tmp_path / "empty", queries=11)
    write_planted(tmp_path / "some" / "where", queries=11)
    assert len(read_dataset(tmp_path / "empty").queries) == len(read_dataset(tmp_path / "some" / "where").queries) == 11


def test_the_command_writes_and_says_what(tmp_path, capsys):
    assert main(["planted", "--out", str(tmp_path / "data"), "--queries", "50", "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"wrote .*data: 50 queries, outcomes of 10 invented models", printed)
    assert re.search(r"best single model: planted-large 0\.\d{3}; a router that knew the truth: 0\.\d{3}", printed)


def test_the_command_tells_a_mistake_in_one_line(tmp_path, capsys):
    assert main(["planted", "--out", str(tmp_path / "data"), "--queries", "0"]) == 1
    assert capsys.readouterr().err == "train: error: queries is 0, allowed is 1 or more\n"
    (tmp_path / "file").write_text("")
    assert main(["planted", "--out", str(tmp_path / "file" / "data")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        main(["planted"])
    assert stop.value.code == 2
