"""The data module: the order of its batches, and options out of range."""

from __future__ import annotations

import os

import pytest
import torch

from router.errors import UsageError
from train.data.datamodule import RoutingDataModule
from train.data_folders.synthetic.command import write_planted


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "data"
    write_planted(folder, 300)
    return folder


@pytest.fixture
def data(world, tiny_encoder, tmp_path):
    """A data module that is set up, with changes."""

    def make(**changes):
        options = {"pools": [str(world / "pool.yaml")], "folder": str(world), "encoder": str(tiny_encoder)}
        made = RoutingDataModule(**options, cache=str(tmp_path / "cache"), max_tokens=400, batch_size=32, **changes)
        made.trainer = None
        made.setup("fit")
        return made

    return make


def batches(data, epoch):
    loader = data.train_dataloader()
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
    return list(loader)


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_an_epoch_has_the_same_batches_whatever_came_before_it(data, freeze_encoder):
    name = "embedding" if freeze_encoder else "input_ids"
    made = data(freeze_encoder=freeze_encoder)
    batches(made, 0)
    for one, other in zip(batches(made, 2), batches(data(freeze_encoder=freeze_encoder), 2), strict=True):
        assert torch.equal(one["row"], other["row"]) and torch.equal(one[name], other[name])


def test_all_options_out_of_range_are_named_at_once():
    with pytest.raises(UsageError) as error:
        RoutingDataModule(pools=[], batch_size=0, weak_label_weight=1.5, val_folds=["7"], sead=1)
    for part in (
        "data.batch_size: got 0; write 1 or more",
        "data.weak_label_weight: got 1.5; write a number from 0 to 1",
        "data.val_folds: got '7' (text); write a whole number",
        "data.'sead': unknown key; did you mean seed?",
    ):
        assert part in str(error.value)
    with pytest.raises(UsageError, match="data: planted_queries needs folder"):
        RoutingDataModule(pools=[], planted_queries=100)
    with pytest.raises(UsageError, match="data: planted_queries needs folder: the one where"):
        RoutingDataModule(pools=[], folder=["one", "two"], planted_queries=100)


def test_several_folders_are_a_list_or_separated_as_in_path():
    assert RoutingDataModule(pools=[], folder=["one", "two"]).options.folder == f"one{os.pathsep}two"
