"""The query encoder by onnxruntime: the same folder, texts and embeddings as `router.encoder`, without torch.

In float32, equal to torch's up to rounding, or with 8-bit weights and activations. Reads the weights once and leaves
nothing on disk. Knows nothing of heads or routing. Axes: B texts, T tokens, E embedding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.bert_graph import EMBEDDING, IDS, INTEGERS, MASK, WEIGHTS, build_graph
from router.errors import CheckpointError
from router.onnx_session import start_session
from router.sentence_folder import SentenceFolder, pooled_layers, read_folder, read_transformer_config, weights_file
from router.stored_weights import StoredWeights
from router.tokenization import QueryTokenizer, ReadsTexts, batches_by_length

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_THREADS = 4  # a query is too little work for more


class OnnxEncoder(ReadsTexts):
    """An encoder that onnxruntime computes on the CPU; build one with `OnnxEncoder.from_pretrained`."""

    def __init__(
        self,
        session: InferenceSession,
        described: SentenceFolder,
        tokenizer: QueryTokenizer,
        layers: tuple[int, ...],
        int8: bool,
        source: Path,
        stamp: tuple[int, int],
    ) -> None:
        self.session = session
        self.described = described
        self.tokenizer = tokenizer
        self.layers = layers
        self.int8 = int8
        self.source = source  # the folder it was read from
        self.stamp = stamp  # of its weights when they were read, see `stamp_of`

    @property
    def dimension(self) -> int:
        """E, the length of an embedding."""
        return int(self.described.config["hidden_size"]) * len(self.layers)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        max_tokens: int = 256,
        head_share: float = 0.75,
        layers: Sequence[int] = (),
        correct_typos: bool = False,
        int8: bool = False,
        threads: int | None = None,
    ) -> OnnxEncoder:
        """The encoder of a folder, ready for inference.

        Args:
            folder: a sentence-transformers or transformers folder of a network that `bert_config.can_build`.
            max_tokens, head_share, layers, correct_typos: as for `QueryEncoder.from_pretrained`.
            int8: multiply 8-bit weights by 8-bit activations, see `router.quantization`.
            threads: that compute one batch; by default one per processor this process may use, at most `MOST_THREADS`.

        Raises:
            CheckpointError: a part of the folder is missing, broken or unknown.
            UsageError: onnxruntime is missing or too old, or a setting does not fit the encoder.
        """
        described, inner = read_folder(Path(folder))
        tokenizer = QueryTokenizer(described, max_tokens, head_share, correct_typos)
        layers = pooled_layers(layers, int(described.config["num_hidden_layers"]))
        file = weights_file(inner)
        stamp = stamp_of(Path(folder))
        weights = StoredWeights.read(file)
        wrong = weights.not_finite()
        if wrong:
            raise CheckpointError(f"{file} holds weights that are not finite numbers: {wrong[:5]}")
        model, integers = build_graph(
            described.config, weights, layers, described.pooling, described.normalize, int8=int8
        )
        files = {WEIGHTS: weights.content} | ({INTEGERS: integers} if int8 else {})
        session = start_session(model, _processors() if threads is None else threads, files)
        return cls(session, described, tokenizer, layers, int8, Path(folder), stamp)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> NDArray[np.float32]:
        """Embeddings (B, E) in the order of `texts`.

        In float32 batches hold texts of like length, and the last digits may depend on which texts are encoded
        together. With int8 each text is its own batch: rounding to 8 bits could make more of a last digit, so its
        embedding does not depend on the others.
        """
        ids = self.tokenize(texts)
        embeddings = np.empty((len(ids), self.dimension), np.float32)
        for rows in batches_by_length(ids, 1 if self.int8 else batch_size):
            embeddings[rows] = self.forward(*self.tokenizer.pad([ids[row] for row in rows]))
        return embeddings

    def forward(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings (B, E) of one batch of token ids (B, T)."""
        feed = {IDS: input_ids, MASK: attention_mask.astype(np.int32)}
        (embedding,) = self.session.run([EMBEDDING], feed)
        return np.asarray(embedding)


def stamp_of(folder: Path) -> tuple[int, int]:
    """Size and time of change of the weights in an encoder's folder; another stamp, other weights. CheckpointError
    where there are none."""
    state = weights_file(read_transformer_config(folder)[1]).stat()
    return state.st_size, state.st_mtime_ns


def _processors() -> int:
    """Threads that are worth starting."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_THREADS)
