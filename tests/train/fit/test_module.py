"""The Lightning module on a few batches: what noise does to an embedding, and which losses count when."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from fixtures.tiny_encoders import MAX_TOKENS, write_tiny_encoder
from torch import Tensor

from router.encoding.form import form
from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from train.data.datamodule import RoutingDataModule
from train.data_folders.synthetic.command import write_planted
from train.fit.module import RoutingModule, freeze_lower, noisy

QUERIES, EPOCHS = 60, 3
MATRIX = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted") / "data"
    write_planted(folder, QUERIES)
    return folder


class Noted(RoutingModule):
    """Keeps by epoch what the losses of training were given and gave."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.seen: dict[int, list[tuple[Tensor, set[str]]]] = {}

    def terms(self, batch: dict[str, Tensor], embedding: Tensor) -> dict[str, Tensor]:
        found = super().terms(batch, embedding)
        self.seen.setdefault(self.current_epoch, []).append((embedding.detach().clone(), set(found)))
        return found


def trained(
    world: Path,
    encoder: Path,
    cache: Path,
    shared: Mapping[str, Any] = MappingProxyType({}),
    reads: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Noted:
    """A module after EPOCHS epochs on the planted world, with options of both modules and of the data module alone."""
    data = RoutingDataModule(
        [str(world / "pool.yaml")],
        str(world),
        encoder=str(encoder),
        cache=str(cache),
        minimum_count=1,
        **shared,
        **reads,
    )
    module = Noted(hidden=8, **shared, **options)
    L.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, limit_val_batches=0, log_every_n_steps=1,
    ).fit(module, data)  # fmt: skip
    return module


def test_noise_leaves_each_pooled_layer_its_own_length() -> None:
    embedding = torch.tensor([[3.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 2.0, 0.5, 0.0, 0.0]])
    torch.manual_seed(0)
    found = noisy(embedding, 0.1, parts=[3, 3])
    assert not torch.isclose(found, embedding, atol=1e-3).all(dim=1).any()
    lengths = found.unflatten(1, (2, 3)).norm(dim=2)
    torch.testing.assert_close(lengths, torch.tensor([[3.0, 1.0], [2.0, 0.5]]))
    torch.testing.assert_close(noisy(embedding, 1e-6, parts=[3, 3]), embedding, atol=1e-4, rtol=0)


def test_noise_leaves_numbers_of_form_as_they_are() -> None:
    embedding = torch.tensor([[3.0, 0.0, 1.0, 0.0, 0.5, 0.0, 9.0, 0.1]])
    found = noisy(embedding, 0.1, parts=[2, 2, 1, 1, 1, 1])
    assert torch.equal(found[:, 4:], embedding[:, 4:]) and not torch.equal(found, embedding)


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_numbers_of_form_are_trained_on_with_a_frozen_and_with_a_trained_encoder(
    world: Path, tiny_encoder: Path, tmp_path: Path, freeze_encoder: bool
) -> None:
    module = trained(world, tiny_encoder, tmp_path, {"form": True, "freeze_encoder": freeze_encoder})
    seen = torch.cat([embedding for embedding, _ in module.seen[0]])
    assert seen.shape[1] == module.network.size.embedding
    known = form(pd.read_parquet(world / "queries.parquet")["text"].tolist())
    assert {tuple(row) for row in seen[:, -4:].tolist()} <= {tuple(row) for row in known.tolist()}


def test_embeddings_of_several_layers_are_trained_on_with_noise_at_the_length_that_is_served(
    world: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    module = trained(world, tiny_encoder, tmp_path, {"layers": (0, 1, 2)}, embedding_noise=0.01)
    seen = torch.cat([embedding for embedding, _ in module.seen[0]])
    lengths = seen.unflatten(1, (3, -1)).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_outcomes_count_only_after_the_epochs_of_labels_alone(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    module = trained(world, tiny_encoder, tmp_path, label_only_epochs=2, decision_weight=0.5)
    counted = {epoch: set.union(*(names for _, names in seen)) for epoch, seen in module.seen.items()}
    first = {"label", "level", "deviation", "length"}
    whole = first | {"outcome", "decision"}
    assert counted == {0: first, 1: first, 2: whole}


@pytest.mark.parametrize("freeze_encoder", [True, False])
def test_other_readings_of_a_row_are_held_to_its_own(
    world: Path, tiny_encoder: Path, tmp_path: Path, freeze_encoder: bool
) -> None:
    reads = {"variants": 0.5, "variant_copies": int(freeze_encoder)}
    shared = {"freeze_encoder": freeze_encoder, "form": True}
    module = trained(world, tiny_encoder, tmp_path, shared, reads, consistency_weight=0.1, dropout=0.0)
    assert any("consistency" in names for _, names in module.seen[0])
    if freeze_encoder:  # in another epoch other copies are drawn
        first, second = (torch.cat([embedding for embedding, _ in module.seen[epoch]]) for epoch in (0, 1))
        assert not torch.allclose(first.sum(0), second.sum(0))
    data: RoutingDataModule = module.trainer.datamodule  # type: ignore[attr-defined]
    batch = data.collate(data.rows["train"].tolist(), 0)
    module.eval()  # without the encoder's dropout
    with torch.no_grad():
        assert module.terms(batch, module.embed(batch))["consistency"] > 0
        own = module.terms(batch, module.embed(data.inputs(batch["row"].tolist())))
    assert own["consistency"] < 1e-6
    with pytest.raises(UsageError, match=r"there are none: set data\.variants"):
        trained(world, tiny_encoder, tmp_path, consistency_weight=0.1)


def test_options_are_plain_hyper_parameters_from_which_a_module_is_made_again(tmp_path: Path) -> None:
    module = RoutingModule(layers=(0, 2), hidden=8, prototypes=3)
    trainer = L.Trainer(max_epochs=0, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    kept = torch.load(tmp_path / "module.ckpt", weights_only=True)["hyper_parameters"]
    assert kept == dict(module.hparams) and (kept["layers"], kept["hidden"]) == ([0, 2], 8)
    assert dict(RoutingModule(**kept).hparams) == kept


@pytest.mark.parametrize(("count", "kept"), [(0, ()), (1, ("embeddings.", "encoder.layer.0."))])
def test_frozen_layers_and_with_them_the_embeddings_are_not_trained(
    world: Path, tiny_encoder: Path, tmp_path: Path, count: int, kept: tuple[str, ...]
) -> None:
    module = trained(world, tiny_encoder, tmp_path, {"freeze_encoder": False}, freeze_layers=count, encoder_lr=1e-3)
    assert module.encoder is not None
    optimizer = module.optimizers()
    given = {id(weight) for weight in optimizer.param_groups[2]["params"]}  # type: ignore[union-attr]
    before = QueryEncoder.from_pretrained(tiny_encoder).transformer.state_dict()
    for name, weight in module.encoder.transformer.named_parameters():
        frozen = name.startswith(kept) if kept else False
        assert (not weight.requires_grad, id(weight) not in given) == (frozen, frozen), name
        assert torch.equal(weight, before[name]) or not frozen, name
    assert not torch.equal(module.encoder.transformer.state_dict()[MATRIX], before[MATRIX])


@pytest.mark.parametrize("architecture", ["roberta", "modernbert"])
def test_layers_of_other_architectures_are_found(tmp_path: Path, architecture: str) -> None:
    encoder = QueryEncoder.from_pretrained(write_tiny_encoder(architecture, tmp_path), MAX_TOKENS)
    freeze_lower(encoder, 2)
    trained = {name for name, weight in encoder.transformer.named_parameters() if weight.requires_grad}
    assert trained and all(".2." in name or name == "final_norm.weight" for name in trained)


def test_more_layers_than_the_encoder_has_cannot_be_frozen(tiny_encoder: Path) -> None:
    with pytest.raises(
        UsageError, match="freeze_layers is 3, but the encoder has 2 layers: write a number from 0 to 2"
    ):
        freeze_lower(QueryEncoder.from_pretrained(tiny_encoder), 3)
