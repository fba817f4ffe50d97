"""Numbers of form: what a text, without its wrappers, looks like before it is read.

They stand unscaled at the end of an embedding, where an encoder was made with `form`. Axes: B texts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.arrays import Array, concat, like
from router.encoding.wrappers import opened

FORM_NUMBERS = 4
DIGITS = b"0123456789"


def form(texts: Sequence[str]) -> NDArray[np.float32]:
    """Per text (B, 4): log1p of its characters, log1p of its line breaks, shares of ASCII digits and of non-ASCII.

    Blanks at its ends do not count, those elsewhere count as one, and blank lines as none.

    >>> form(["ab\\n\\n  12\\n", ""]).astype(float).round(2).tolist()
    [[1.79, 0.69, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    counts = np.array([_counts(opened(text).task) for text in texts], np.float64).reshape(-1, FORM_NUMBERS)
    length = np.maximum(counts[:, :1], 1.0)
    return np.concatenate([np.log1p(counts[:, :2]), counts[:, 2:] / length], axis=1).astype(np.float32)


def with_form(embedding: Array, texts: Sequence[str], wanted: bool) -> Array:
    """Embeddings (B, E) with the form of their texts at the end, (B, E + 4), where it is `wanted`."""
    return concat([embedding, like(form(texts), embedding)], axis=1) if wanted else embedding


def _counts(text: str) -> tuple[int, int, int, int]:
    """Characters, line breaks, digits, characters beyond ASCII; without a loop over characters in Python."""
    lines = [" ".join(words) for line in text.split("\n") if (words := line.split())]
    text = "\n".join(lines)
    ascii_part = text.encode("ascii", "ignore")
    digits = len(ascii_part) - len(ascii_part.translate(None, DIGITS))
    return len(text), text.count("\n"), digits, len(text) - len(ascii_part)
