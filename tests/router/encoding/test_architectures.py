"""Encoders of four architectures must be encoded as sentence-transformers encodes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fixtures.tiny_encoders import MAX_TOKENS, TEXTS, write_tiny_encoder
from torch.nn import functional as F

from router.encoding.torch_encoder import QueryEncoder


def test_embeddings_are_those_of_sentence_transformers(tiny_of_each_kind: Path) -> None:
    reason = "sentence-transformers is not installed: pip install 'sentence-transformers>=6,<7'"
    sentence_transformers = pytest.importorskip("sentence_transformers", reason=reason)
    encoder = QueryEncoder.from_pretrained(tiny_of_each_kind, MAX_TOKENS)
    theirs = sentence_transformers.SentenceTransformer(str(tiny_of_each_kind), device="cpu")
    assert encoder.dimension == 32 and encoder.depth == 3
    assert [theirs.tokenizer(text)["input_ids"] for text in TEXTS[:-1]] == encoder.tokenize(TEXTS[:-1])
    expected = theirs.encode(TEXTS, convert_to_tensor=True)
    assert expected.std(dim=0).mean() > 0.02  # the texts are told apart
    torch.testing.assert_close(encoder.encode(TEXTS, batch_size=3), expected, rtol=1e-5, atol=1e-5)


def test_each_layer_is_pooled_as_transformers_computes_it_for_the_text_alone(tiny_of_each_kind: Path) -> None:
    from transformers import AutoModel

    encoder = QueryEncoder.from_pretrained(tiny_of_each_kind, MAX_TOKENS, layers=[3, 1, 0])
    network = AutoModel.from_pretrained(tiny_of_each_kind, local_files_only=True, trust_remote_code=False).eval()
    found = encoder.encode(TEXTS, batch_size=4)
    assert found.shape == (len(TEXTS), 3 * 32)
    for row, ids in zip(found, encoder.tokenize(TEXTS), strict=True):
        with torch.no_grad():
            output = network(torch.tensor([ids]), output_hidden_states=True)
        states = (*output.hidden_states[:-1], output.last_hidden_state)
        parts = [
            states[layer][0, 0] if encoder.described.pooling == "cls" else states[layer][0].mean(0)
            for layer in encoder.layers
        ]
        if encoder.described.normalize:
            parts = [F.normalize(part, dim=0) for part in parts]
        torch.testing.assert_close(row, torch.cat(parts), rtol=1e-5, atol=1e-5)


def test_the_longest_text_that_is_allowed_has_a_position_for_each_token(tiny_of_each_kind: Path) -> None:
    most = 62 if "roberta" in tiny_of_each_kind.name else 64  # they count positions on from the pad id, which is 1
    encoder = QueryEncoder.from_pretrained(tiny_of_each_kind, most)
    assert len(encoder.tokenize(["two " * 100])[0]) == most
    assert encoder.encode(["two " * 100]).isfinite().all()


def test_a_saved_encoder_gives_the_same_embeddings(tiny_of_each_kind: Path, tmp_path: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_of_each_kind, MAX_TOKENS)
    encoder.save_pretrained(tmp_path)
    assert torch.equal(QueryEncoder.from_pretrained(tmp_path, MAX_TOKENS).encode(TEXTS), encoder.encode(TEXTS))


def test_a_tiny_encoder_has_the_same_bytes_each_time(tiny_of_each_kind: Path, tmp_path: Path) -> None:
    again = write_tiny_encoder(tiny_of_each_kind.name, tmp_path / "again")
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / file).read_bytes() == (tiny_of_each_kind / file).read_bytes()
