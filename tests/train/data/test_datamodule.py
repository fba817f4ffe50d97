"""The data module: batches of training alone have reworded texts."""

from __future__ import annotations

import pytest
import torch

from router.errors import UsageError
from train.data.datamodule import RoutingDataModule
from train.data.rewording import is_reworded, reworded
from train.data_folders.synthetic.command import write_planted


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmented") / "data"
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


def by_row(made, name):
    return {int(row): value for batch in made for row, value in zip(batch["row"], batch[name], strict=True)}


def test_cached_copies_replace_a_share_of_the_embeddings_in_training_only(data):
    augmented, plain = data(augment=0.5), data()
    rows = len(plain.rows["train"])
    ours, theirs = by_row(batches(augmented, 3), "embedding"), by_row(batches(plain, 3), "embedding")
    changed = {row for row in ours if not torch.equal(ours[row], theirs[row])}
    assert ours.keys() == theirs.keys() and len(ours) == rows
    assert changed == {row for row in ours if is_reworded(0.5, 0, 3, row)}
    row = min(changed)
    copy = augmented.encoder.encode([reworded(augmented.texts[row], 0, 1, row)])[0]  # epoch 3 of 2 copies: the second
    assert torch.allclose(ours[row], copy, atol=1e-5)
    for ours, theirs in zip(augmented.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(ours["embedding"], theirs["embedding"])
    assert torch.equal(augmented.embeddings, plain.embeddings)  # collating has left the cache as it was


def test_a_trained_encoder_reads_texts_reworded_anew_in_each_epoch(data):
    augmented = data(augment=1.0, freeze_encoder=False)
    first, second = (by_row(batches(augmented, epoch), "input_ids") for epoch in (0, 1))
    row = int(augmented.rows["train"][0])
    for epoch, seen in enumerate((first, second)):
        (expected,) = augmented.encoder.tokenize([reworded(augmented.texts[row], 0, epoch, row)])
        assert seen[row][: len(expected)].tolist() == expected
    val = next(iter(augmented.val_dataloader()))
    assert val["input_ids"][0][: int(val["attention_mask"][0].sum())].tolist() == augmented.tokens[int(val["row"][0])]


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_an_epoch_has_the_same_batches_whatever_came_before_it(data, freeze_encoder):
    name = "embedding" if freeze_encoder else "input_ids"
    made = data(augment=0.5, freeze_encoder=freeze_encoder)
    batches(made, 0)
    for one, other in zip(batches(made, 2), batches(data(augment=0.5, freeze_encoder=freeze_encoder), 2), strict=True):
        assert torch.equal(one["row"], other["row"]) and torch.equal(one[name], other[name])


@pytest.mark.parametrize("change", [{"augment": 1.5}, {"augment": -0.1}, {"augmented_copies": 0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(UsageError, match=r"data\.augment is a share from 0 to 1"):
        RoutingDataModule(pools=[], **change)
