"""The Lightning data module: a data folder in, batches of queries with labels and outcomes out.

Loaders and the order of batches, which depends on seed and epoch alone, so a resumed run sees the batches of an
uninterrupted one. `train.data.folds` chooses the rows, `train.data.training_data` lays out their tensors,
`train.data.readings` draws what they are read as, `train.data.embedding_cache` keeps what a frozen encoder reads.
Axes: B queries, N queries of the folder, E embedding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic_core import to_jsonable_python
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from router.encoding.form import form
from router.encoding.torch_encoder import QueryEncoder
from router.evaluation.dataset import read_dataset
from router.options import CHARS_PER_TOKEN
from train.data.embedding_cache import cached_embeddings
from train.data.folds import fold_rows, usable_rows
from train.data.options import DataOptions
from train.data.readings import LONGEST_SECOND, Readings
from train.data.training_data import TrainingData, build_training_data
from train.data.weak_labels import with_weak_labels
from train.data_folders.synthetic.command import write_planted

Batch = dict[str, Tensor]


class RoutingDataModule(L.LightningDataModule):
    """Batches for `RoutingModule`.

    Args:
        pools: pool files whose AIQ is validated and that go into the checkpoint; the first is its default.
        folder: data in RouteMix-open's format, several as a list or separated as in PATH; None: ROUTEMIX_DIR if set,
            otherwise data/routemix-open.
        options: the others of `DataOptions`; the hyper-parameters hold all as plain values.
    """

    training_data: TrainingData

    def __init__(self, pools: list[str], folder: str | list[str] | None = None, **options: Any) -> None:
        super().__init__()
        self.options = DataOptions.checked("data", pools=pools, folder=folder, **options)
        self.save_hyperparameters(to_jsonable_python(self.options), logger=False)  # cli.LoggedConfig logs all
        self.embeddings: Tensor | None = None  # (N, E) by the encoder before training, where needed
        self.tokens: list[list[int]] = []  # of the N texts, where the encoder is trained
        self.copies: Tensor | None = None  # (copies, annotated training rows, E) of other readings, where it is frozen

    def prepare_data(self) -> None:
        """Write the generated data folder that `planted_queries` asks for; once, on rank 0."""
        queries, folder = self.options.planted_queries, self.options.folder
        if queries and folder and not (Path(folder) / "queries.parquet").is_file():
            write_planted(folder, queries)

    def setup(self, stage: str) -> None:
        """Read and check the folder once; raises DataError, PoolError or UsageError."""
        if hasattr(self, "training_data"):
            return
        options = self.options
        dataset = read_dataset(options.folder)
        usable = usable_rows(dataset, options.ood_benchmarks)
        folds = {"train": options.train_folds, "val": options.val_folds}
        if stage == "test":
            folds["test"] = options.test_folds
        self.rows = {name: fold_rows(dataset, usable, each) for name, each in folds.items()}
        self.encoder = QueryEncoder.from_pretrained(
            options.encoder, options.max_tokens, layers=options.layers, form=options.form
        )
        self.training_data = build_training_data(dataset, usable, self.rows, options)
        texts, self.annotated = self.training_data.texts, self.training_data.tensors["labelled"].numpy() > 0
        level = self.training_data.tensors["level"].numpy()
        self.readings = Readings(texts, self.rows["train"], self.annotated, level, options)
        if options.freeze_encoder or options.weak_label_weight:
            self.embeddings = cached_embeddings(self.encoder, texts, Path(options.cache), options.bf16_embeddings)
            if options.weak_label_weight:
                self.training_data = with_weak_labels(
                    self.training_data, self.embeddings, options.weak_label_weight, self.encoder.parts
                )
        if options.variant_copies:
            self._embed_copies()
        if not options.freeze_encoder:
            self.tokens = self.encoder.tokenize(texts)

    def _embed_copies(self) -> None:
        train, options = self.rows["train"], self.options
        self.copied = train[self.readings.varied[train]]
        rows = self.copied.tolist()
        copies = [self.readings.copy(row, number) for number in range(options.variant_copies) for row in rows]
        texts, composed = zip(*copies, strict=True)
        embedded = cached_embeddings(self.encoder, list(texts), Path(options.cache), options.bf16_embeddings)
        self.copies = embedded.unflatten(0, (-1, len(rows)))
        self.copy_is_composed = torch.tensor(composed).view(-1, len(rows))

    def collate(self, rows: list[int], epoch: int | None = None) -> Batch:
        """The batch of these rows: `row` (B,), their tensors, and `inputs`; a composed text has no outcomes."""
        index = torch.tensor(rows)
        batch = {name: tensor[index] for name, tensor in self.training_data.tensors.items()} | {"row": index}
        batch |= self.inputs(rows, epoch)
        for name in ("seen", "measured"):
            batch[name] &= ~batch["composed"][:, None]
        return batch

    def inputs(self, rows: list[int], epoch: int | None = None) -> Batch:
        """What the encoder reads of rows: `input_ids`, `attention_mask` and `form`, or `embedding` where it is cached.

        Without an `epoch` the rows are read as they are. `varied` (B,) are those read otherwise, `composed` (B,) those
        of them that are read within other material.
        """
        drawn = {at: self.readings.drawn(row, epoch) for at, row in enumerate(rows)} if epoch is not None else {}
        sources = {at: source for at, source in drawn.items() if source}
        varied, composed = torch.zeros(2, len(rows), dtype=torch.bool)
        varied[list(sources)] = True
        read = self._tokenised if self.tokens else self._cached
        return read(rows, sources, composed) | {"varied": varied, "composed": composed}

    def _tokenised(self, rows: list[int], sources: Mapping[int, Random], composed: Tensor) -> Batch:
        """Tokens and form of rows, other texts at places of `sources`; notes in `composed` (B,) which are composed."""
        texts, ids = [self.readings.texts[row] for row in rows], [self.tokens[row] for row in rows]
        for at, source in sources.items():
            texts[at], composed[at] = self.readings.read(rows[at], source)
        for at, tokens in zip(sources, self.encoder.tokenize([texts[at] for at in sources]), strict=True):
            ids[at] = tokens
        input_ids, attention_mask = self.encoder.collate(ids)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "form": torch.from_numpy(form(texts))}

    def _cached(self, rows: list[int], sources: Mapping[int, Random], composed: Tensor) -> Batch:
        """The embeddings of rows, copies at the places of `sources`; notes in `composed` (B,) which are composed."""
        assert self.embeddings is not None
        embedding = self.embeddings[rows]
        if sources:
            assert self.copies is not None
            at, copy = list(sources), [source.randrange(len(self.copies)) for source in sources.values()]
            place = np.searchsorted(self.copied, np.array(rows)[at])
            embedding[at] = self.copies[copy, place]
            composed[at] = self.copy_is_composed[copy, place]
        return {"embedding": embedding}

    def _loader(self, rows: NDArray[np.intp], batch_size: int, shuffle: bool) -> DataLoader[Any]:
        trainer = self.trainer
        drawn = EpochRows(rows, self.annotated, self.options) if shuffle else None
        places: Any = range(len(drawn) if drawn else len(rows))
        sampler: DistributedSampler[Any] = DistributedSampler(
            places,
            num_replicas=trainer.world_size if trainer else 1,
            rank=trainer.global_rank if trainer else 0,
            shuffle=shuffle,
            seed=self.options.seed,
        )

        @lru_cache(1)
        def rows_of(epoch: int) -> NDArray[np.intp]:
            return drawn.of(epoch) if drawn else rows

        def collate(some: list[int]) -> Batch:
            return self.collate(rows_of(sampler.epoch)[some].tolist(), sampler.epoch if shuffle else None)

        def lengths() -> list[int]:
            return [self._length(row, sampler.epoch if shuffle else None) for row in rows_of(sampler.epoch).tolist()]

        if not self.tokens:
            return DataLoader(places, batch_size=batch_size, sampler=sampler, collate_fn=collate)
        batches = LengthGroupedBatches(sampler, lengths, batch_size, shuffle)
        return DataLoader(places, batch_sampler=batches, collate_fn=collate)

    def _length(self, row: int, epoch: int | None) -> int:
        """Tokens of a row, those of a composed text at their limit, those of a second task by a guess."""
        source = self.readings.drawn(row, epoch) if epoch is not None else None
        kind = self.readings.kind(row, source) if source is not None else "varied"
        more = {"varied": 0, "beside": LONGEST_SECOND // CHARS_PER_TOKEN, "composed": self.options.max_tokens}[kind]
        return min(len(self.tokens[row]) + more, self.options.max_tokens)

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


class EpochRows:
    """The training rows of each epoch: all that are annotated, and `DataOptions.unlabelled_share` of the others.

    Which others depends on the seed and the epoch alone.
    """

    def __init__(self, rows: NDArray[np.intp], annotated: NDArray[np.bool_], options: DataOptions) -> None:
        self.rows, self.others, self.seed = rows, rows[~annotated[rows]], options.seed
        self.left_out = len(self.others) - round(len(self.others) * options.unlabelled_share)

    def __len__(self) -> int:
        return len(self.rows) - self.left_out

    def of(self, epoch: int) -> NDArray[np.intp]:
        """Rows of an epoch."""
        source = np.random.default_rng((self.seed, epoch))
        return np.setdiff1d(self.rows, source.choice(self.others, self.left_out, replace=False))


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of texts of similar length, which saves padding; `shuffle` puts the batches in a random order.

    Deterministic in the sampler's seed and epoch. Sorts within runs of GROUP batches only, so batches stay mixed.
    """

    GROUP = 40

    def __init__(
        self, sampler: DistributedSampler[Any], lengths: Callable[[], Sequence[int]], batch_size: int, shuffle: bool
    ) -> None:
        self.sampler, self.lengths, self.batch_size, self.shuffle = sampler, lengths, batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        indices, run, lengths = list(self.sampler), self.batch_size * self.GROUP, self.lengths()
        batches = []
        for start in range(0, len(indices), run):
            group = sorted(indices[start : start + run], key=lambda i: -lengths[i])
            batches += [group[i : i + self.batch_size] for i in range(0, len(group), self.batch_size)]
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.sampler.seed + self.sampler.epoch)
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return iter(batches)
