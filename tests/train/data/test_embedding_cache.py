"""The cache of embeddings is per encoder: one that reads otherwise takes nothing from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, normalizers
from transformers import AutoConfig, BertModel

from router.encoding.torch_encoder import QueryEncoder
from train.data.embedding_cache import cached_embeddings

TEXTS = ["Prove that two is prime", "write python code where two is the root"]


def described(**changes: object) -> Callable[[Path], QueryEncoder]:
    """Loads an encoder with the same weights, of a folder that says something else."""

    def load(folder: Path) -> QueryEncoder:
        encoder = QueryEncoder.from_pretrained(folder)
        return QueryEncoder(encoder.transformer, replace(encoder.described, **changes)).eval()  # type: ignore[arg-type]

    return load


def with_case(folder: Path) -> QueryEncoder:
    """An encoder that reads capitals as they are."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    return described(tokenizer=tokenizer)(folder)


def with_more_heads(folder: Path) -> QueryEncoder:
    """An encoder whose config has the same weights computed otherwise."""
    encoder = QueryEncoder.from_pretrained(folder)
    config = encoder.described.config | {"num_attention_heads": 3}
    transformer = BertModel(AutoConfig.for_model(**config), add_pooling_layer=False)
    transformer.load_state_dict(encoder.transformer.state_dict())
    return QueryEncoder(transformer, replace(encoder.described, config=config)).eval()


@pytest.mark.parametrize(
    "other",
    [
        described(pooling="cls"),
        described(normalize=False),
        with_case,
        with_more_heads,
        lambda folder: QueryEncoder.from_pretrained(folder, layers=(1,)),
        lambda folder: QueryEncoder.from_pretrained(folder, form=True),
        lambda folder: QueryEncoder.from_pretrained(folder, max_tokens=7),
    ],
    ids=["pooling", "normalising", "tokenizer", "config", "layers", "form", "length"],
)
def test_an_encoder_that_reads_otherwise_takes_nothing_from_the_cache(
    tiny_encoder: Path, tmp_path: Path, other: Callable[[Path], QueryEncoder]
) -> None:
    for tokens in (256, 6):
        cached_embeddings(QueryEncoder.from_pretrained(tiny_encoder, max_tokens=tokens), TEXTS, tmp_path)
    encoder = other(tiny_encoder)
    found = cached_embeddings(encoder, TEXTS, tmp_path).numpy()
    np.testing.assert_allclose(found, encoder.encode(TEXTS).numpy(), atol=1e-6)


def test_the_same_encoder_reads_the_cache(tiny_encoder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        cached_embeddings(QueryEncoder.from_pretrained(tiny_encoder), TEXTS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_bfloat16_is_computed_where_it_is_asked_for(tiny_encoder: Path, tmp_path: Path) -> None:
    texts = ["who asks?", "a longer text than that one"]
    exact, rounded = (
        cached_embeddings(QueryEncoder.from_pretrained(tiny_encoder), texts, tmp_path, bf16) for bf16 in (False, True)
    )
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=0.05, rtol=0)
