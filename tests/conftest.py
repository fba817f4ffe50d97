"""What holds for every test: no network, no prompts, no CUDA surprises. Set before anything reads it at import."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from onboarding_world import World

    from router.checkpoint.checkpoint import Checkpoint

pytest_plugins = ["not_run"]

# Defaults, so that `HF_HUB_OFFLINE=0 pytest -m network` can reach out.
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a hub id without a network retries for 70 s
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else tokenizers warns after every fork
LOOPBACK = ("localhost", "127.", "::1")


class NetworkBlockedError(RuntimeError):
    """A test reached for the network; mark it `network` if it must."""


def _is_loopback(address: object) -> bool:
    """Whether a socket address is of this machine; those that are no (host, port) are (Unix sockets, netlink)."""
    return not isinstance(address, tuple) or str(address[0]).startswith(LOOPBACK) or address[0] in ("", "0.0.0.0")


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name look-ups beyond loopback, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return

    def guarded(name: str, position: int) -> None:
        original = getattr(socket.socket, name)

        def guard(self: socket.socket, *args: Any) -> Any:
            if not _is_loopback(args[position]):
                raise NetworkBlockedError(f"a test called socket.{name} for {args[position]!r}: tests run offline")
            return original(self, *args)

        monkeypatch.setattr(socket.socket, name, guard)

    guarded("connect", 0)
    guarded("connect_ex", 0)
    guarded("sendto", -1)
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _is_loopback((name,)) and name != socket.gethostname():
            raise NetworkBlockedError(f"a test looked up {name!r}: tests run offline")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


WORDS = ("prove", "that", "two", "is", "the", "root", "of", "a", "prime", "write", "python", "code", "where", "who")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: BERT of two layers (E = 12) with random weights, WordPiece of WORDS and letters.

    Use it as `QueryEncoder.from_pretrained(tiny_encoder)`, or wherever a folder names the encoder. Do not write to it.
    """
    # Imported here: the tests of whatever does without torch start sooner, and the variables above are set by now.
    import string

    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    from router.encoding.bert import Bert
    from router.encoding.sentence_folder import SentenceFolder
    from router.encoding.torch_encoder import QueryEncoder

    signs = [*string.ascii_lowercase, *string.digits]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *string.punctuation, *signs]
    vocabulary = {each: i for i, each in enumerate(dict.fromkeys([*pieces, *(f"##{sign}" for sign in signs)]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(pieces[:5])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    sizes = {"hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20, "num_hidden_layers": 2}
    config = {"model_type": "bert", "vocab_size": len(vocabulary), "max_position_embeddings": 512, "pad_token_id": 0}
    network = Bert(config | sizes)
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        tensor.copy_(centre + 0.2 * torch.randn(tensor.shape, generator=generator))
    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), pieces, strict=False))
    files = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", **special},
        "special_tokens_map.json": special,
    }
    described = SentenceFolder(config | sizes | {"architectures": ["BertModel"]}, tokenizer, tokenizer_files=files)
    QueryEncoder(network, described).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_encoder: Path) -> Checkpoint:
    """A checkpoint of two models under two protocols with random weights. Do not change it."""
    from tiny_checkpoint import make_checkpoint

    return make_checkpoint(tiny_encoder)


@pytest.fixture
def tiny_router(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """The folder of `tiny_checkpoint`, one for each test, to read and to break."""
    from router.checkpoint.checkpoint import save_checkpoint

    save_checkpoint(tiny_checkpoint, tmp_path / "router")
    return tmp_path / "router"


@pytest.fixture(scope="session")
def planted_checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a planted world and of an untrained router for it. Do not write to them."""
    from planted_checkpoint import write_planted_checkpoint

    return write_planted_checkpoint(tmp_path_factory.mktemp("planted"), tiny_encoder)


@pytest.fixture(scope="session")
def onboarding_world(tiny_encoder: Path) -> World:
    """A router that knows the truth about a family of models, of which new ones can be onboarded. Do not change it."""
    from onboarding_world import make_world

    return make_world(tiny_encoder)
