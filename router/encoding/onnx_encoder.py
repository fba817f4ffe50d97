"""Query encoder on onnxruntime: the same folder, texts and embeddings as in `router.encoding.torch_encoder`.

It opens the graphs that `router.encoding.onnx_export` left in the folder, of any architecture: in float32, equal to
torch's up to rounding, or with 8-bit weights and activations. It reads the weights once and writes nothing to disk. It
knows nothing of heads or routing. Axes: B texts, T tokens, E embedding.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.encoding.form import FORM_NUMBERS, with_form
from router.encoding.sentence_folder import (
    FACTS,
    GRAPHS,
    WEIGHTS,
    SentenceFolder,
    read_folder,
    read_transformer_config,
    weights_file,
)
from router.encoding.tokenizer import HasTokenizer, QueryTokenizer, batches_by_length
from router.errors import CheckpointError, UsageError
from router.files import read_json
from router.onnx.quantization import INTEGERS, quantized_file
from router.onnx.session import start_session
from router.onnx.weights import StoredWeights

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

IDS, MASK, EMBEDDING = "input_ids", "attention_mask", "sentence_embedding"  # inputs (B, T), and the output (B, E)
MOST_THREADS = 4  # one query has too little work for more


class OnnxEncoder(HasTokenizer):
    """An encoder that onnxruntime computes on the CPU; build one with `OnnxEncoder.from_pretrained`."""

    def __init__(
        self,
        session: InferenceSession,
        described: SentenceFolder,
        tokenizer: QueryTokenizer,
        layers: tuple[int, ...],
        form: bool,
        int8: bool,
        source: Path,
        stamp: tuple[int, int],
    ) -> None:
        self.session = session
        self.described = described
        self.tokenizer = tokenizer
        self.layers = layers
        self.form = form  # as in `QueryEncoder`
        self.int8 = int8
        self.source = source  # the folder it was read from
        self.stamp = stamp  # `stamp_of` the folder when the weights were read
        self._pooled = int(session.get_outputs()[0].shape[1])
        self.dimension = self._pooled + form * FORM_NUMBERS  # E, the length of an embedding
        self._beside: InferenceSession | None = None  # see `add_session`
        self._under_way = 0  # batches being computed
        self._counting = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        max_tokens: int = 256,
        layers: Sequence[int] = (),
        form: bool = False,
        *,
        int8: bool = False,
        threads: int | None = None,
        **removed: object,
    ) -> OnnxEncoder:
        """The encoder of a folder, ready for inference.

        Args:
            folder: a sentence-transformers or transformers folder with graphs beside the weights.
            max_tokens, layers, form, removed: as for `QueryEncoder.from_pretrained`.
            int8: multiply 8-bit weights by 8-bit activations, see `router.onnx.quantization`.
            threads: threads for one batch; by default one per available processor, at most `MOST_THREADS`.

        Raises:
            CheckpointError: a part of the folder is missing, broken or unknown.
            UsageError: onnxruntime is missing or too old, or an argument does not fit the encoder.
        """
        described, inner = read_folder(Path(folder))
        tokenizer = QueryTokenizer(described, max_tokens, **removed)
        facts = read_json(inner / FACTS)
        if list(layers or facts["layers"]) != facts["layers"]:
            raise UsageError(
                f"the graphs in {inner} pool the layers {facts['layers']}, got {list(layers)}: save the checkpoint anew"
            )
        stamp = stamp_of(Path(folder))
        session = _session(inner, facts["quantized"], int8, _processors() if threads is None else threads)
        return cls(session, described, tokenizer, tuple(facts["layers"]), form, int8, Path(folder), stamp)

    def add_session(self) -> None:
        """Start a second session, with one thread, for batches that arrive while another is being computed.

        In one session the spinning threads of two batches take processors from each other, which costs a fifth of the
        throughput. The session holds a second copy of the weights. Raises CheckpointError where the weights have
        changed.
        """
        if stamp_of(self.source) != self.stamp:
            raise CheckpointError(f"{self.source} changed since the encoder was read from it: load it again")
        inner = read_transformer_config(self.source)[1]
        self._beside = _session(inner, read_json(inner / FACTS)["quantized"], self.int8, threads=1)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> NDArray[np.float32]:
        """Embeddings (B, E) in the order of `texts`.

        In float32 a batch holds texts of similar length, and the last digits may depend on the other texts in it. With
        int8 each text is a batch of its own, because rounding to 8 bits could magnify such a difference.
        """
        ids = self.tokenize(texts)
        embeddings = np.empty((len(ids), self._pooled), np.float32)
        for rows in batches_by_length(ids, 1 if self.int8 else batch_size):
            embeddings[rows] = self.forward(*self.tokenizer.pad([ids[row] for row in rows]))
        return with_form(embeddings, texts, self.form)

    def forward(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings (B, E) without form of one batch of token ids (B, T)."""
        feed = {IDS: input_ids, MASK: attention_mask.astype(np.int32)}
        with self._counting:
            session = self._beside if self._under_way and self._beside is not None else self.session
            self._under_way += 1
        try:
            (embedding,) = session.run([EMBEDDING], feed)
        finally:
            with self._counting:
                self._under_way -= 1
        return np.asarray(embedding)


def stamp_of(folder: Path) -> tuple[int, int]:
    """Size and modification time of the weights in an encoder's folder; CheckpointError where there are none."""
    state = weights_file(read_transformer_config(folder)[1]).stat()
    return state.st_size, state.st_mtime_ns


def _session(folder: Path, quantized: Sequence[str], int8: bool, threads: int) -> InferenceSession:
    """A session of the graph in the transformer's folder; CheckpointError for unusable weights."""
    file = weights_file(folder)
    weights = StoredWeights.read(file)
    wrong = weights.not_finite()
    if wrong:
        raise CheckpointError(f"{file} holds weights that are not finite numbers: {wrong[:5]}")
    files = {WEIGHTS: weights.content}
    if int8:
        files[INTEGERS] = quantized_file(map(weights.array, quantized))
    return start_session((folder / GRAPHS[int8]).read_bytes(), threads, files)


def _processors() -> int:
    """The default number of threads."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MOST_THREADS)
