"""Rule for lost instructions: a benchmark whose texts are only raw material.

In every language some words (the, of; those of the instruction) are in most texts of a benchmark. Lists and fragments
have no such word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from train.data_folders.check.finding import WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.questions import words_of

FEWEST_TEXTS = 50
RECURS = 0.2  # least share of a benchmark's texts with its most frequent word
SENTENCES = 0.5  # least share of texts with the end of a sentence, where no word recurs
ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")


def instruction_findings(folder: CheckedFolder) -> Iterator[Finding]:
    """Findings about benchmarks whose texts have neither a common word nor sentences."""
    for benchmark, texts in folder.dataset.queries.groupby("benchmark", observed=True)["text"]:
        words = Counter(word for text in texts for word in set(words_of(text)))
        word, n = words.most_common(1)[0] if words else ("", 0)
        sentences = np.mean([any(end in text for end in ENDS) for text in texts])
        if len(texts) >= FEWEST_TEXTS and n / len(texts) < RECURS and sentences < SENTENCES:
            yield Finding(
                WARNING,
                "lost instruction",
                str(benchmark),
                f"the texts have no word in common (the most frequent, {word!r}, is in {n / len(texts):.0%}) and "
                f"{1 - sentences:.0%} have no sentence: material without a request",
                "put the instruction back that the models were given, or leave the benchmark out",
                rows=folder.ids(texts.index),
            )
