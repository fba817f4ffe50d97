from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.tiny_checkpoint import FACTS, SYSTEMS, edit

from router.checkpoint.layout import profiles_checksum
from router.checkpoint.profiles_file import profiles_from_json, profiles_to_json
from router.checkpoint.storage import load_checkpoint
from router.errors import CheckpointError
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool

# Large as it is, small in an exam and with other facts, one that is new: as in tiny_checkpoint.
POOLS = {
    "both": Pool("both", (Candidate(FACTS["large"], SYSTEMS[0]), Candidate(FACTS["small"], SYSTEMS[2])), 0.25),
    "odd": Pool(
        "odd",
        (
            Candidate(replace(FACTS["large"], id="large-eu", input_usd_per_mtok=2.0), SYSTEMS[0]),
            Candidate(ModelFacts("small", 0.1, 0.5), SYSTEMS[1]),
            Candidate(ModelFacts("new", 1.0, 2.0)),
        ),
    ),
}


def test_problems_are_counted_and_each_stands_on_a_line_of_its_own() -> None:
    raw = json.loads(profiles_to_json(FACTS, POOLS))
    raw["models"][0]["price"] = 1
    with pytest.raises(CheckpointError, match=r"^1 problem:\n  models, entry 1 \('large'\): .*$"):
        profiles_from_json(json.dumps(raw), SYSTEMS)
    raw["models"][1]["price"] = 1
    with pytest.raises(CheckpointError, match=r"^2 problems:\n  models, entry 1 .*\n  models, entry 2 .*$"):
        profiles_from_json(json.dumps(raw), SYSTEMS)


def test_what_is_written_can_be_read_and_edited_by_people() -> None:
    facts = {"große": replace(FACTS["large"], id="große"), **FACTS}
    systems = (*SYSTEMS, System("große", "chat"))
    text = profiles_to_json(facts, POOLS)
    assert '\n   "id": "große",\n' in text
    assert text.endswith("\n}\n")
    models, pools = profiles_from_json(text, systems)
    assert (models, pools) == (facts, POOLS)
    assert list(models) == sorted(models)


def test_a_pool_says_of_its_models_only_what_differs() -> None:
    written = json.loads(profiles_to_json(FACTS, POOLS))
    both, odd = written["pools"]
    assert [set(entry) - {"profile"} for entry in both["models"]] == [{"id"}, {"id"}]
    small = odd["models"][1]
    assert (small["output_usd_per_mtok"], small["tags"]) == (0.5, None)  # null: the model has tags, the entry none
    assert "input_usd_per_mtok" not in small


MISTAKES: list[tuple[Callable[[Any], object], str]] = [
    (lambda raw: raw["models"].pop(), "has a system of 'small', whose facts are missing; known: large"),
    (lambda raw: raw["models"][0].update(id="larg"), r"(?s)2 problems:.*'large', whose facts.*'larg' is no model"),
    (lambda raw: raw["models"].append(raw["models"][0]), "entry 3 .*'large'.*: id: an earlier entry has it too"),
    (
        lambda raw: raw["models"][0].update(input_usd_per_mtok=-2.5),
        r"'large'\): input_usd_per_mtok: got -2\.5; write 0",
    ),
    (lambda raw: raw["models"][0].update(input_usd_per_mtok="2.5"), r"got '2\.5' \(text\); write a number"),
    (lambda raw: raw["models"][0].update(input_usd_per_mtok=float("nan")), "got nan .*; write a finite number"),
    (lambda raw: raw["models"][0].update(price=1), "'price': unknown key"),
    (lambda raw: raw["models"][0].pop("id"), "entry 1 .*id: missing"),
    (lambda raw: raw["models"].append(5), r"entry 3 .*got 5 \(a number\); write a mapping"),
    (
        lambda raw: raw["pools"][1]["models"][1].update(output_usd_per_mtok=-1),
        r"entry 2 \(small\): output_usd_per_mtok: got",
    ),
    (lambda raw: raw["pools"][0]["models"][0].update(profile="x@chat"), "profile: no profile for model 'x@chat'"),
    (lambda raw: raw["pools"][1].update(name="both"), "pool 'both': an earlier pool has the name too"),
    (lambda raw: raw["pools"][0]["models"].append(5), r"'both': entry 3: got 5 \(a number\); write a mapping"),
    (lambda raw: raw["pools"][0]["models"].append({"id": ["large"]}), r"entry 3: id: got \['large'\]"),
    (
        lambda raw: [pool.update(models=5) for pool in raw["pools"]],
        r"(?s)^2 problems:.*pool 'both': models: got 5.*pool 'odd': models: got 5",
    ),
    (lambda raw: raw["pools"].append(5), "write a mapping with the keys name, protocol"),
    (lambda raw: raw["pools"][0].update(models=5), "models: got 5"),
    (lambda raw: raw.pop("pools"), 'must be a JSON object with the lists "models" and "pools"'),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
def test_a_mistake_in_the_profiles_is_one_clear_error(change: Callable[[Any], object], message: str) -> None:
    raw = json.loads(profiles_to_json(FACTS, POOLS))
    change(raw)
    with pytest.raises(CheckpointError, match=message):
        profiles_from_json(json.dumps(raw), SYSTEMS)


# In a checkpoint


def test_a_price_edited_under_models_takes_effect_in_the_pools_that_state_no_other(tiny_router: Path) -> None:
    edit(tiny_router / "profiles.json", lambda raw: [model.update(output_usd_per_mtok=7) for model in raw["models"]])
    loaded = load_checkpoint(tiny_router)
    assert loaded.models["small"].output_usd_per_mtok == 7
    assert [c.facts.output_usd_per_mtok for c in loaded.pools["both"].candidates] == [7, 7]
    assert [c.facts.output_usd_per_mtok for c in loaded.pools["odd"].candidates] == [10, 0.5, 2]


def test_a_price_edited_in_a_pool_takes_effect_there_alone(tiny_router: Path) -> None:
    edit(tiny_router / "profiles.json", lambda raw: raw["pools"][0]["models"][0].update(input_usd_per_mtok=3))
    loaded = load_checkpoint(tiny_router)
    assert loaded.pools["both"].candidates[0].facts == replace(FACTS["large"], input_usd_per_mtok=3.0)
    assert loaded.models == FACTS


def test_what_nobody_edited_is_read_as_if_it_were_checked(tiny_router: Path) -> None:
    text = profiles_to_json(FACTS, POOLS)
    assert profiles_from_json(text, SYSTEMS, unchanged=True) == profiles_from_json(text, SYSTEMS) == (FACTS, POOLS)
    with pytest.raises(CheckpointError, match="has a system of 'large', whose facts are missing"):
        profiles_from_json('{"models": [], "pools": []}', SYSTEMS, unchanged=True)
    loaded = load_checkpoint(tiny_router)
    edit(tiny_router / "config.json", lambda raw: raw.pop("profiles_sha256"))  # as older checkpoints
    assert load_checkpoint(tiny_router).pools == loaded.pools


def test_an_upstream_of_a_checkpoints_pool_reaches_nobody_even_with_a_checksum(tiny_router: Path) -> None:
    upstream = {"api_base": "https://attacker.example/v1", "key_env": "OPENAI_API_KEY"}
    edit(tiny_router / "profiles.json", lambda raw: raw["pools"][0]["models"][0].update(upstream=upstream))
    edit(tiny_router / "config.json", lambda raw: raw.update(profiles_sha256=profiles_checksum(tiny_router)))
    pools = load_checkpoint(tiny_router).pools.values()
    assert [each.upstream for pool in pools for each in pool.candidates if each.upstream] == []


def test_a_pool_may_be_added(tiny_router: Path) -> None:
    added = {"name": "mine", "models": [{"id": "large"}, {"id": "small", "profile": "small@exam"}]}
    edit(tiny_router / "profiles.json", lambda raw: raw["pools"].append(added))
    assert load_checkpoint(tiny_router).pools["mine"].candidates == (
        Candidate(FACTS["large"], SYSTEMS[0]),
        Candidate(FACTS["small"], SYSTEMS[2]),
    )


def test_a_mistake_names_the_file(tiny_router: Path) -> None:
    edit(tiny_router / "profiles.json", MISTAKES[0][0])
    with pytest.raises(CheckpointError, match=MISTAKES[0][1]) as caught:
        load_checkpoint(tiny_router)
    assert str(tiny_router / "profiles.json") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b'{"models": [', "broken JSON"), (b"\xff", "can't decode byte 0xff")]
)
def test_profiles_that_are_no_json_are_refused(tiny_router: Path, content: bytes, message: str) -> None:
    (tiny_router / "profiles.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"profiles\.json: .*{message}"):
        load_checkpoint(tiny_router)
