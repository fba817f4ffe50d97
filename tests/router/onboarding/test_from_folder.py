"""Onboarding a data folder: its models' profiles and a pool of them, from outcomes of known truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fixtures.onboarding_world import NEW, TEXTS, World, write_folder

from router.checkpoint.added_models import with_revisions, write_added_models
from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import LAYOUT
from router.checkpoint.storage import load_checkpoint, save_checkpoint
from router.cli.main import main
from router.errors import PoolError, UsageError
from router.evaluation.dataset import read_dataset
from router.evaluation.pool_report import evaluate_router, row_masks
from router.onboarding.add_model import forget, onboard
from router.onboarding.from_folder import FolderOnboarding, onboard_folder
from router.onboarding.graded_answers import make_answers
from router.pools.models import ModelFacts, System
from router.pools.pool import Pool
from router.routing.router import Router


def models(world: World) -> dict[str, np.ndarray]:
    """True rows of a cheap one, two specialists and a strong one."""
    kinds = {"cheap": (-1.0, 0.0), "left": (0.0, 5.0), "right": (0.0, -5.0), "strong": (0.7, 0.3)}
    return {name: world.row(*kind) for name, kind in kinds.items()}


def fit(checkpoint: Checkpoint, folder: Path, pool: str = "mine", split: str = "train", **options) -> FolderOnboarding:
    dataset = read_dataset(folder)
    return onboard_folder(checkpoint, dataset, row_masks(dataset, split, None)[0], pool, **options)


@pytest.fixture(scope="module")
def data(onboarding_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "data"
    write_folder(folder, onboarding_world, models(onboarding_world))
    return folder


@pytest.fixture(scope="module")
def fitted(onboarding_world: World, data: Path) -> FolderOnboarding:
    return fit(onboarding_world.checkpoint, data)


# What is fitted


def test_every_new_model_gets_a_profile_near_its_truth(onboarding_world: World, fitted: FolderOnboarding):
    world = onboarding_world
    assert [profile.system for profile in fitted.profiles] == [
        System(name, "mine") for name in ("cheap", "left", "right", "strong")
    ]
    for profile in fitted.profiles:
        true = models(world)[profile.system.model]
        others = [row for name, row in models(world).items() if name != profile.system.model]
        loss = world.log_loss(true, profile.row)
        assert loss < 0.03 < min(world.log_loss(true, other) for other in others)
        assert profile.answers == 280 and profile.benchmarks == {} and profile.pools == ()
        assert profile.mean_score == pytest.approx(world.quality(true).mean(), abs=0.06)


def test_the_pool_holds_them_with_the_folders_prices_and_what_the_dial_spans(fitted: FolderOnboarding, data: Path):
    assert fitted.pool.name == "mine" and fitted.pool.ids == ("cheap", "left", "right", "strong")
    assert [each.facts.output_usd_per_mtok for each in fitted.pool.candidates] == [2.0, 8.0, 32.0, 128.0]
    assert fitted.checkpoint.added_models.pools == (fitted.pool,) and fitted.unpriced == ()
    table = pd.read_parquet(data / "outcomes.parquet").merge(pd.read_parquet(data / "queries.parquet"), on="query_id")
    table = table[table["split"] == "train"]
    tokens = table.groupby("model")["output_chars"].mean() / 4
    prompt = table["text"].str.len().mean() / 4
    span = (prompt * (32 - 0.5) + tokens["strong"] * 128 - tokens["cheap"] * 2) / 1e6
    assert fitted.pool.cost_range_usd == pytest.approx(span, rel=1e-4)


def test_predicted_costs_are_those_of_the_folder_on_rows_it_was_not_fitted_on(onboarding_world: World, fitted, data):
    assert_costs_agree(fitted, data)


def assert_costs_agree(fitted: FolderOnboarding, data: Path) -> None:
    from router.evaluation.pool_report import pool_outcomes

    dataset = read_dataset(data)
    judged = pool_outcomes(dataset, fitted.pool).take(row_masks(dataset, "test", None)[0])
    texts = dataset.queries["text"].to_numpy()[judged.rows].tolist()
    cost = Router(fitted.checkpoint).predict(texts, "mine").cost_usd.double().numpy()
    assert cost.mean(axis=0) == pytest.approx(judged.realised_usd.mean(axis=0), rel=0.2)


def test_where_the_folder_records_costs_these_are_predicted_and_not_the_length_of_what_was_shown(
    onboarding_world: World, tmp_path
):
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), hidden=5.0)
    found = fit(onboarding_world.checkpoint, tmp_path / "data")
    assert_costs_agree(found, tmp_path / "data")
    usual = [profile.mean_output_tokens for profile in found.profiles]
    shown = read_dataset(tmp_path / "data").output_tokens.mean()
    assert usual == pytest.approx([5 * shown] * 4, rel=0.1)


@pytest.mark.parametrize("like", ["chat", "exam"])
def test_an_unknown_protocol_is_taken_for_the_one_that_explains_its_answers(onboarding_world: World, tmp_path, like):
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), like=like)
    found = fit(onboarding_world.checkpoint, tmp_path / "data")
    assert {profile.reference_protocol for profile in found.profiles} == {like}
    assert {profile.system.protocol for profile in found.profiles} == {"mine"}


def test_a_known_protocol_is_itself_whatever_explains_its_answers(onboarding_world: World, tmp_path):
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), like="chat", protocol="exam")
    assert {each.reference_protocol for each in fit(onboarding_world.checkpoint, tmp_path / "data").profiles} == {
        "exam"
    }


def test_only_the_rows_given_are_fitted(onboarding_world: World, data: Path, tmp_path, fitted: FolderOnboarding):
    table = pd.read_parquet(data / "outcomes.parquet")
    outside = table["query_id"].map(lambda name: int(name[1:]) % 10 >= 7)
    for name in ("queries.parquet", "models.csv"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    table.loc[outside, "score"] = 1 - table.loc[outside, "score"]
    table.loc[outside, "output_chars"] = 9999.0
    table.to_parquet(tmp_path / "outcomes.parquet")
    again = fit(onboarding_world.checkpoint, tmp_path)
    for before, after in zip(fitted.profiles, again.profiles, strict=True):
        assert np.array_equal(before.row, after.row) and before.log_tokens == after.log_tokens
    assert again.pool == fitted.pool


def test_models_that_answered_different_queries_are_each_fitted_on_their_own(onboarding_world: World, data, tmp_path):
    table = pd.read_parquet(data / "outcomes.parquet")
    number = table["query_id"].map(lambda name: int(name[1:]))
    kept = (table["model"] != "left") | (number % 4 == 0)
    kept &= (table["model"] != "strong") | (number % 4 != 0)
    for name in ("queries.parquet", "models.csv"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    table[kept].to_parquet(tmp_path / "outcomes.parquet")
    found = {profile.system.model: profile for profile in fit(onboarding_world.checkpoint, tmp_path).profiles}
    assert (found["left"].answers, found["cheap"].answers) == (80, 280)
    assert found["left"].answers + found["strong"].answers == 280
    for name, profile in found.items():
        true = models(onboarding_world)[name]
        assert onboarding_world.log_loss(true, profile.row) < 0.04


# What it is good for


def test_a_pool_of_ones_own_models_is_then_routed_better_than_by_chance_and_than_its_best_model(
    onboarding_world: World, data: Path, tmp_path, capsys
):
    """Through the commands, as a user would."""
    router = str(tmp_path / "router")
    save_checkpoint(onboarding_world.checkpoint, router)
    assert main(["onboard", "--into", router, "--data", str(data), "--split", "train", "--pool", "own"]) == 0
    assert "pool own has 4 models:" in capsys.readouterr().out
    where = ["--checkpoint", router, "--data", str(data), "--pool", "own"]
    assert main(["evaluate", *where, "--split", "test", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["n"] == 80 and report["pool"] == "own"
    assert report["quality"] > report["random"] + 0.1
    assert report["quality"] > report["best_single"]
    assert report["aiq"] > report["aiq_zero"] + 0.03
    assert report["brier"] < report["brier_constant"]
    assert main(["route", TEXTS[0], "--checkpoint", router, "--pool", "own", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] in models(onboarding_world)


def test_its_profiles_and_its_pool_are_kept_in_the_checkpoint(onboarding_world: World, data, fitted, tmp_path):
    save_checkpoint(onboarding_world.checkpoint, tmp_path / "router", torch.float32)
    write_added_models(fitted.checkpoint.added_models, tmp_path / "router" / LAYOUT.added_models)
    loaded = Router(load_checkpoint(tmp_path / "router"))
    assert loaded.pools["mine"] == with_revisions(fitted.pool, fitted.checkpoint.added_models)
    before, after = (evaluate_router(each, data, "mine", split="test") for each in (Router(fitted.checkpoint), loaded))
    assert before == after


def test_a_pool_made_from_a_folder_can_be_joined_later(onboarding_world: World, fitted: FolderOnboarding):
    late = onboard(fitted.checkpoint, ModelFacts("late", 1.0, 1.0), benchmarks={"arena-hard": 0.9}, pools=["mine"])
    assert Router(late.checkpoint).pools["mine"].ids == (*fitted.pool.ids, "late")
    assert Router(late.checkpoint).route(TEXTS[0], pool="mine", allow=["late"]).model == "late"


# Who is left out


def test_a_trained_system_keeps_its_profile_and_that_is_said(onboarding_world: World, tmp_path, caplog):
    checkpoint = onboarding_world.checkpoint
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), known="known-0@chat")
    found = fit(checkpoint, tmp_path / "data")
    assert [record.getMessage() for record in caplog.records] == [
        f"1 systems of {tmp_path / 'data'} keep their trained profiles"
    ]
    assert found.checkpoint.network is checkpoint.network
    assert "known-0" not in {profile.system.model for profile in found.profiles} | set(found.pool.ids)


def test_a_folder_without_anybody_new_is_refused_and_says_how_many_are_known(onboarding_world: World, tmp_path):
    write_folder(tmp_path / "data", onboarding_world, {}, known="known-0@chat")
    with pytest.raises(UsageError, match=r"no graded answer of a system that training did not know .*\(1 systems it"):
        fit(onboarding_world.checkpoint, tmp_path / "data")


def test_rows_without_an_outcome_are_refused(onboarding_world: World, data: Path):
    with pytest.raises(UsageError, match=r"no graded answer .* on these rows; name another split"):
        fit(onboarding_world.checkpoint, data, split="ood")


def test_a_pools_name_must_be_free(onboarding_world: World, data: Path, fitted: FolderOnboarding, tmp_path):
    with pytest.raises(UsageError, match=r"was trained with a pool 'both': name the new one otherwise, with --pool"):
        fit(onboarding_world.checkpoint, data, pool="both")
    write_folder(tmp_path / "data", onboarding_world, {"another": onboarding_world.row(0, 0)})
    with pytest.raises(UsageError, match="there is an onboarded pool 'mine' with other models: name the new one"):
        fit(fitted.checkpoint, tmp_path / "data")
    both = fit(fitted.checkpoint, tmp_path / "data", pool="second").checkpoint
    assert [pool.name for pool in both.added_models.pools] == ["mine", "second"]


def test_a_folder_is_onboarded_again_only_when_asked_for(data: Path, fitted: FolderOnboarding):
    with pytest.raises(UsageError, match=r"onboarded already: cheap@mine, left@mine, .*--replace"):
        fit(fitted.checkpoint, data, pool="other")
    again = fit(fitted.checkpoint, data, replace_old=True)
    assert [each.system for each in again.profiles] == [each.system for each in fitted.profiles]
    assert again.checkpoint.added_models.pools == fitted.checkpoint.added_models.pools
    assert len(again.checkpoint.added_models.profiles) == 4


def test_a_model_without_a_price_gets_a_profile_but_joins_no_pool(onboarding_world: World, tmp_path):
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), prices={"left": None})
    found = fit(onboarding_world.checkpoint, tmp_path / "data")
    assert found.unpriced == ("left",) and found.pool.ids == ("cheap", "right", "strong")
    assert len(found.profiles) == 4
    Router(found.checkpoint).profile("left")


def test_a_folder_without_any_price_makes_no_pool(onboarding_world: World, tmp_path):
    free = dict.fromkeys(models(onboarding_world))
    write_folder(tmp_path / "data", onboarding_world, models(onboarding_world), prices=free)
    with pytest.raises(
        UsageError, match=r"none of cheap, left, right, strong has prices in .*models\.csv, so there is"
    ):
        fit(onboarding_world.checkpoint, tmp_path / "data")


def test_a_model_under_two_new_protocols_is_refused(onboarding_world: World, data: Path, tmp_path):
    table = pd.read_parquet(data / "outcomes.parquet")
    for name in ("queries.parquet", "models.csv"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    again = table[table["model"] == "cheap"].assign(protocol="other")
    pd.concat([table, again]).to_parquet(tmp_path / "outcomes.parquet")
    with pytest.raises(PoolError, match=r"cheap has outcomes under several new protocols, .*a folder of its own"):
        fit(onboarding_world.checkpoint, tmp_path)


def test_the_given_checkpoint_is_left_as_it_was(onboarding_world: World, fitted: FolderOnboarding):
    assert onboarding_world.checkpoint.added_models.profiles == () and set(onboarding_world.checkpoint.pools) == {
        "both"
    }
    assert (
        replace(fitted.checkpoint, added_models=onboarding_world.checkpoint.added_models) == onboarding_world.checkpoint
    )
    assert isinstance(fitted.pool, Pool)


def test_a_lone_model_is_drawn_to_the_known_and_not_to_its_own_answers_twice(onboarding_world: World, tmp_path):
    write_folder(tmp_path / "lone", onboarding_world, {"lone": onboarding_world.row(1.5, -1.0)})
    data = read_dataset(tmp_path / "lone")
    rows = data.queries["split"].to_numpy() == "train"
    lone = onboard_folder(onboarding_world.checkpoint, data, rows, "lone").profiles[0]
    column = data.systems.index(lone.system)
    texts = data.queries["text"].to_numpy()[rows].tolist()
    answers = make_answers(texts, data.score[rows, column].tolist(), data.output_tokens[rows, column].tolist())
    same = onboard(onboarding_world.checkpoint, ModelFacts("same"), answers, protocol=lone.reference_protocol).profile
    assert np.allclose(lone.row, same.row, atol=1e-5)


def test_a_pool_whose_own_models_are_gone_is_that_of_those_who_joined_it(onboarding_world: World, tmp_path):
    write_folder(tmp_path / "lone", onboarding_world, {"lone": onboarding_world.row(0, 0)})
    data = read_dataset(tmp_path / "lone")
    rows = data.queries["split"].to_numpy() == "train"
    made = onboard_folder(onboarding_world.checkpoint, data, rows, "own").checkpoint
    answers = onboarding_world.answers(onboarding_world.row(0, 0), 5)
    made = onboard(made, NEW, answers, pools=["own"]).checkpoint
    left = forget(made, "lone")
    assert Router(left).pools["own"].ids == (NEW.id,)
    assert "own" not in Router(forget(left, NEW.id)).pools


def test_fitted_anew_the_only_model_of_a_pool_is_said_to_take_it_along(onboarding_world: World, tmp_path, caplog):
    write_folder(tmp_path / "lone", onboarding_world, {"lone": onboarding_world.row(0, 0)})
    data = read_dataset(tmp_path / "lone")
    made = onboard_folder(onboarding_world.checkpoint, data, data.queries["split"].to_numpy() == "train", "own")
    answers = onboarding_world.answers(onboarding_world.row(0, 0), 5)
    again = onboard(made.checkpoint, ModelFacts("lone", 1.0, 1.0), answers, replace_old=True)
    assert again.profile.pools == () and "own" not in Router(again.checkpoint).pools
    assert "lone was all of pool own, which is gone" in caplog.text
