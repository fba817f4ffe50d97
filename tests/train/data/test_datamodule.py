"""The data module: the order of its batches, and options out of range."""

from __future__ import annotations

import os

import pytest
import torch

from router.encoding.form import form
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


def test_an_epoch_has_every_annotated_row_and_its_own_share_of_the_others(data):
    made = data(freeze_encoder=True, unlabelled_share=0.25)
    train = made.rows["train"]
    made.annotated[train[1::2]], made.annotated[train[::2]] = True, False
    annotated, others = set(train[1::2].tolist()), set(train[::2].tolist())
    drawn = []
    for epoch in range(3):
        rows = torch.cat([batch["row"] for batch in batches(made, epoch)]).tolist()
        assert len(rows) == len(set(rows)) and annotated < set(rows)
        drawn.append(set(rows) - annotated)
        assert len(drawn[-1]) == round(len(others) / 4) and drawn[-1] < others
    assert drawn[0] != drawn[1] != drawn[2]
    assert {*torch.cat([batch["row"] for batch in batches(made, 1)]).tolist()} == annotated | drawn[1]


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


FROZEN, TRAINED = {"variant_copies": 2}, {"freeze_encoder": False}


@pytest.mark.parametrize("encoder", [FROZEN, TRAINED])
def test_readings_repeat_in_an_epoch_and_differ_between_epochs(data, encoder):
    one, other = (data(variants=0.4, composed=0.2, **encoder) for _ in range(2))
    batches(one, 0)
    epochs = [{int(row): batch for batch in batches(each, epoch) for row in batch["row"]}
              for each, epoch in ((one, 1), (other, 1), (other, 2))]  # fmt: skip
    again, first, _ = ([epoch[row] for row in sorted(epoch)] for epoch in epochs)
    assert all(a[name].equal(b[name]) or a[name].isnan().any() for a, b in zip(again, first, strict=True) for name in a)
    marks = [
        torch.cat([batch["varied"][batch["row"] == row] for row, batch in sorted(epoch.items())]) for epoch in epochs
    ]
    varied = marks[0]
    if encoder is FROZEN:  # only annotated rows have copies
        annotated = torch.from_numpy(one.annotated[sorted(epochs[0])])
        assert annotated.any() and not varied[~annotated].any()
        varied = varied[annotated]
    assert 0.5 < varied.float().mean() < 0.7 and not torch.equal(marks[1], marks[2])


@pytest.mark.parametrize("encoder", [FROZEN, TRAINED])
def test_composed_rows_keep_their_labels_and_have_no_outcomes(data, encoder):
    made = data(variants=0.2, composed=0.6, **encoder)
    tensors, rows = made.training_data.tensors, made.rows["train"].tolist()
    batch, plain = made.collate(rows, 0), made.collate(rows)
    composed, varied = batch["composed"], batch["varied"]
    labelled = tensors["labelled"][rows] > 0
    assert composed[labelled].float().mean() > 0.45 and not composed[~labelled].any() and (varied | ~composed).all()
    assert (varied & ~composed).any() and not (plain["varied"] | plain["composed"]).any()
    for name in ("seen", "measured"):
        assert not batch[name][composed].any()
        assert torch.equal(batch[name][~composed], tensors[name][rows][~composed])
    for name in ("capability", "knowledge", "labelled", "score"):
        assert torch.equal(batch[name], tensors[name][rows])
    if "embedding" in batch:
        same = (batch["embedding"] == plain["embedding"]).all(dim=1)
        assert same[~varied].all() and not same[composed].any()
    else:
        same = [
            made.readings.read(row, made.readings.drawn(row, 0))[0]
            for row, read in zip(rows, varied, strict=True)
            if read
        ]
        ids, mask = batch["input_ids"][varied], batch["attention_mask"][varied].bool()
        assert torch.equal(batch["form"][varied], torch.from_numpy(form(same)))
        assert [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)] == made.encoder.tokenize(same)


def test_long_readings_are_in_batches_of_long_texts(data):
    made = data(freeze_encoder=False, composed=0.3)
    sizes = [batch["attention_mask"].sum(1) for batch in batches(made, 0)]
    assert sum(len(size) for size in sizes) == len(made.rows["train"])
    long = sum(int((size > 300).sum()) for size in sizes)
    assert long > 40
    assert sum(size.max() > 300 for size in sizes) <= len(sizes) * 0.3 + 2  # a second task's length is guessed


@pytest.mark.parametrize("options", [{"variants": 0.1}, {"variant_copies": 1}, {**TRAINED, **FROZEN, "composed": 0.1}])
def test_copies_are_made_for_a_frozen_encoder_that_reads_variants_and_for_no_other(options):
    with pytest.raises(UsageError, match="a frozen encoder needs variant_copies for them, nothing else does"):
        RoutingDataModule(pools=[], **options)
    with pytest.raises(UsageError, match=r"together 1\.2; write 1 at most"):
        RoutingDataModule(pools=[], variants=0.6, composed=0.6, freeze_encoder=False)
