"""`python -m train dials`: a checkpoint without tables gets them, and can then be asked for a budget."""

import shutil

import pytest

from router.errors import CheckpointError, PoolError
from router.routing.router import Router
from train.__main__ import main


@pytest.fixture
def checkpoint(planted_checkpoint, tmp_path):
    shutil.copytree(planted_checkpoint[1], tmp_path / "router")
    return tmp_path / "router"


def test_a_checkpoint_gets_its_tables_and_then_meets_budgets(planted_checkpoint, checkpoint, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="python -m train dials"):
        Router.from_pretrained(checkpoint).route("two", budget_usd_per_1k=1.0)
    where = ["--data", str(planted_checkpoint[0]), "--cache", str(tmp_path / "cache")]
    assert main(["dials", str(checkpoint), *where]) == 0
    assert capsys.readouterr().out.startswith("planted: ")
    assert {path.name for path in checkpoint.iterdir() if "dials" in path.name} == {"dials.json"}
    router = Router.from_pretrained(checkpoint)
    table = router.checkpoint.dial_tables["planted"]
    budget = table.cost_usd_per_1k[50]
    assert router.dial_for(budget_usd_per_1k=budget).cost_usd_per_1k == budget
    assert router.route("two", budget_usd_per_1k=budget).goal.met_on == "validation"


def test_an_edited_price_makes_the_table_another_pools_until_it_is_measured_again(
    planted_checkpoint, checkpoint, tmp_path
):
    where = ["--data", str(planted_checkpoint[0]), "--cache", str(tmp_path / "cache"), "--val-folds", "6,7"]
    assert main(["dials", str(checkpoint), *where]) == 0
    file = checkpoint / "profiles.json"
    file.write_text(file.read_text().replace('"output_usd_per_mtok": ', '"output_usd_per_mtok": 1', 1))
    with pytest.raises(PoolError, match=r"has no dial table: .* prices"):
        Router.from_pretrained(checkpoint).dial_for(quality_at_least=0.0)
    assert main(["dials", str(checkpoint), *where]) == 0
    assert Router.from_pretrained(checkpoint).dial_for(quality_at_least=0.0).dial == 10


def test_a_users_mistake_is_one_line(planted_checkpoint, checkpoint, capsys):
    assert main(["dials", str(checkpoint), "--data", str(planted_checkpoint[0]), "--pools", "plantd"]) == 1
    assert capsys.readouterr().err == (
        "train: error: unknown pool 'plantd'; known: planted; or give a pool file by its path: ./plantd\n"
    )
    assert not (checkpoint / "dials.json").exists()
