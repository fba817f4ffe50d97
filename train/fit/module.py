"""The Lightning module: losses, validation metrics, optimizer.

Network and encoder come from `router`, batches from `train.data.datamodule`, figures from `train.fit.validation`.
Axes: B queries, S systems, P protocols.
"""

import re
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from pydantic_core import to_jsonable_python
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR

from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from router.network.torch_network import Prototypes, RouterNetwork
from router.network.vectors import Dimensions
from train.data.datamodule import Batch, RoutingDataModule
from train.data.training_data import TrainingData
from train.fit import losses
from train.fit.initialisation import initialise_profiles, protocol_weights
from train.fit.options import ModelOptions
from train.fit.schedule import WarmupCosine
from train.fit.validation import Collected, flat_figures, judge_pools

LAYER = re.compile(r"\blayers?\.(\d+)\.")  # in the name of a layer's weight, as transformers names them
DIAL_SPAN = (-3.0, 1.0)  # log10 of the cost weights drawn for the decision term, in units of 1 / cost range


class RoutingModule(L.LightningModule):
    """Trains a `RouterNetwork` and, unless frozen, its encoder.

    Args:
        optimizer: for heads and profiles; its rate is theirs.
        lr_scheduler: stepped per batch when it is `WarmupCosine`, otherwise per epoch.
        options: those of `ModelOptions`, which the hyper-parameters hold as plain values.
    """

    network: RouterNetwork
    system_weight: Tensor
    cost_range: Tensor

    def __init__(
        self,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable = ConstantLR,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options = ModelOptions.checked("model", **options)
        self.save_hyperparameters(to_jsonable_python(self.options), logger=False)  # cli.LoggedConfig logs all
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.encoder: QueryEncoder | None = None

    @property
    def training_data(self) -> TrainingData:
        """The data of the run, from the data module."""
        datamodule: RoutingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return datamodule.training_data

    def configure_model(self) -> None:
        """Build the network in the data's sizes; profiles start from the closed form."""
        if hasattr(self, "network"):
            return
        with torch.device("cpu"):  # beside the data: Lightning would build on the GPU; it moves the network later
            self._build()

    def _build(self) -> None:
        datamodule: RoutingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        data = datamodule.training_data
        if self.options.consistency_weight and not datamodule.readings.share:
            raise UsageError(
                "model.consistency_weight compares variants with their rows, there are none: set data.variants"
            )
        if not self.options.freeze_encoder:
            self.encoder = datamodule.encoder.train()  # with the dropout of its own configuration
            freeze_lower(self.encoder, self.options.freeze_layers)
        size = Dimensions(
            datamodule.encoder.dimension,
            len(data.taxonomy.capabilities),
            len(data.taxonomy.domains),
            len(data.protocols),
            len(data.systems),
            residual=self.options.residual,
            hidden=self.options.hidden,
            prototypes=self.options.prototypes,
            likeness=self.options.likeness if self.options.prototypes else 0,
            categories=int(data.tensors["category"].max()) + 1 if self.options.category_weight else 0,
        )
        self.network = RouterNetwork(size, data.protocol, self.options.dropout)
        if datamodule.embeddings is not None:
            self.network.heads.fit_scale(datamodule.embeddings[data.train_rows], datamodule.encoder.parts)
        initialise_profiles(self.network.profiles, data, self.options.residual)
        balance = protocol_weights(data, self.options.balance)
        self.register_buffer("system_weight", balance[data.protocol], persistent=False)
        usual = data.tensors["cost"][data.train_rows].nanmean(dim=0)
        self.register_buffer("cost_range", _range_per_protocol(usual, data), persistent=False)

    def on_fit_start(self) -> None:
        """Keep the seed: every batch seeds from it again, so a resumed run repeats an uninterrupted one."""
        self.base_seed = torch.initial_seed() % 2**31

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed noise and dropout of a batch by seed, rank, epoch and the batch's number alone."""
        torch.manual_seed(self.base_seed + 1_000_003 * self.current_epoch + 1_009 * batch_idx + self.global_rank)

    def embed(self, batch: Batch) -> Tensor:
        """Embeddings (B, E) of a batch, cached or computed."""
        if self.encoder is None:
            return batch["embedding"]
        embedding: Tensor = self.encoder(batch["input_ids"], batch["attention_mask"])
        return torch.cat([embedding, batch["form"]], dim=1) if self.encoder.form else embedding

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        embedding = self.embed(batch)
        if self.options.embedding_noise:
            datamodule: RoutingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
            embedding = noisy(embedding, self.options.embedding_noise, datamodule.encoder.parts)
        terms = self.terms(batch, embedding)
        total = torch.stack([getattr(self.options, f"{name}_weight") * value for name, value in terms.items()]).sum()
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, on_step=False, on_epoch=True)
        self.log("train/loss", total.detach(), prog_bar=True, on_step=True, on_epoch=False)
        return total

    def terms(self, batch: Batch, embedding: Tensor) -> dict[str, Tensor]:
        """Unweighted loss terms by name; a term with weight 0 is left out."""
        table, options = self.network.profiles, self.options
        hidden = self.network.heads.hidden(embedding)
        query = self.network.heads.read(hidden)
        logits = table.logits(query.vector)
        cells = batch["seen"].to(logits.dtype) * self.system_weight
        weight = batch["labelled"] * batch["label_share"]
        terms = {
            "label": losses.label_loss(query, batch["capability"], batch["knowledge"], weight),
            "level": losses.level_loss(query.level, batch["level"], weight),
            "deviation": query.deviation.square().mean(),
            "outcome": losses.outcome_loss(logits, batch["score"], cells),
            "length": losses.length_loss(
                query.log_length[:, table.protocol] + table.log_tokens, batch["tokens"], batch["measured"]
            ),
        }
        if options.category_weight:
            prototypes = self.network.heads.prototypes
            assert isinstance(prototypes, Prototypes) and prototypes.category is not None
            terms["category"] = torch.nn.functional.cross_entropy(prototypes.category(hidden), batch["category"])
        if options.consistency_weight and batch["varied"].any():
            plain = self._plain_vector(batch["row"][batch["varied"]])
            terms["consistency"] = losses.consistency_loss(query.vector[batch["varied"]], plain)
        if options.decision_weight:
            terms["decision"] = self._decision(batch, logits)
        late = ("outcome", "decision") if self.current_epoch < options.label_only_epochs else ()
        return {name: value for name, value in terms.items() if getattr(options, f"{name}_weight") and name not in late}

    @torch.no_grad()
    def _plain_vector(self, rows: Tensor) -> Tensor:
        """Query vectors (B, D) of rows as their own texts: the target of their other readings."""
        datamodule: RoutingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        inputs = datamodule.inputs(rows.tolist())
        embedding = self.embed({name: tensor.to(self.device) for name, tensor in inputs.items()})
        vector: Tensor = self.network.heads(embedding).vector
        return vector

    def _decision(self, batch: Batch, logits: Tensor) -> Tensor:
        """The ranking term, averaged over the protocols present in the batch."""
        usable = batch["seen"] & ~batch["cost"].isnan()
        low, high = DIAL_SPAN
        total, present = logits.sum() * 0.0, 0
        for protocol in range(len(self.training_data.protocols)):
            columns = self.network.profiles.protocol == protocol
            mask = usable[:, columns]
            if (mask.sum(1) >= 2).any():
                weight = 10 ** torch.empty(len(mask), 1, device=logits.device).uniform_(low, high)
                cost = batch["cost"][:, columns].nan_to_num() / self.cost_range[protocol]
                score = batch["score"][:, columns]
                total = total + losses.decision_loss(
                    logits[:, columns], score, cost, mask, weight, self.options.temperature
                )
                present += 1
        return total / max(present, 1)

    def on_validation_epoch_start(self) -> None:
        self.collected: list[Collected] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.collected.append(self.predict_step(batch, batch_idx))

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        gathered = Collected(*(self._gather(torch.cat(parts)) for parts in zip(*self.collected, strict=True)))
        data = self.training_data
        judged = judge_pools(gathered, self.network.profiles, data)
        figures = flat_figures({name: each.report() for name, each in judged.items()}, gathered, data)
        self.log(f"{stage}/aiq_margin", figures.pop("aiq_margin"), prog_bar=True)
        self.log_dict({f"{stage}/{name}": value for name, value in figures.items()})

    def _gather(self, values: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return values
        gathered = self.all_gather(values)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def predict_step(self, batch: Batch, batch_idx: int) -> Collected:
        """Outputs of the network for a batch: rows, logits, length factors, labels and levels."""
        query, logits = self.network(self.embed(batch))
        return Collected(
            batch["row"],
            logits.float(),
            query.log_length.float(),
            query.capability.float(),
            query.knowledge.float(),
            query.level.float(),
        )

    def configure_optimizers(self) -> Any:
        groups: list[dict[str, Any]] = [
            {"params": list(self.network.heads.parameters())},
            {"params": list(self.network.profiles.parameters()), "weight_decay": 0.0},
        ]
        if self.encoder is not None:
            trained = [weight for weight in self.encoder.parameters() if weight.requires_grad]
            groups.append({"params": trained, "lr": self.options.encoder_lr})
        optimizer = self.optimizer(groups)
        scheduler = self.lr_scheduler(optimizer)
        per_batch = isinstance(scheduler, WarmupCosine)
        if isinstance(scheduler, WarmupCosine):
            scheduler.total_steps = int(self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step" if per_batch else "epoch"},
        }


def freeze_lower(encoder: QueryEncoder, count: int) -> None:
    """Keep the encoder's embeddings and its first `count` layers as they are in training; 0 freezes nothing.

    Raises UsageError if it has fewer layers.
    """
    layers = {name: LAYER.search(name) for name, _ in encoder.transformer.named_parameters()}
    depth = len({found[1] for found in layers.values() if found})
    if count > depth:
        raise UsageError(
            f"freeze_layers is {count}, but the encoder has {depth} layers: write a number from 0 to {depth}"
        )
    for name, weight in encoder.transformer.named_parameters():
        found = layers[name]
        if count and (int(found[1]) < count if found else "embeddings" in name):
            weight.requires_grad_(False)


def noisy(embedding: Tensor, deviation: float, parts: Sequence[int]) -> Tensor:
    """Embeddings (B, E) with normal noise of standard deviation `deviation`, each part at its own length.

    `parts` are the lengths of the parts. One of a single number, which has no direction, stays as it is.

    >>> noisy(torch.tensor([[3.0, 4.0]]), 0.1, parts=[1, 1])
    tensor([[3., 4.]])
    """
    moved = []
    for before in embedding.split(list(parts), dim=1):
        after = torch.nn.functional.normalize(before + torch.randn_like(before) * deviation, dim=1)
        moved.append(after * before.norm(dim=1, keepdim=True) if before.shape[1] > 1 else before)
    return torch.cat(moved, dim=1)


def _range_per_protocol(usual_cost: Tensor, data: TrainingData) -> Tensor:
    """(P,) USD between the dearest and the cheapest system of each protocol; 1 where costs do not differ."""
    spans = []
    for protocol in range(len(data.protocols)):
        own = usual_cost[(data.protocol == protocol) & ~usual_cost.isnan()]
        span = float(own.max() - own.min()) if len(own) else 0.0
        spans.append(span if span > 0 else 1.0)
    return torch.tensor(spans)
