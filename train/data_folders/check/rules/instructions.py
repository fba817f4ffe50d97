"""Texts that ask for nothing: a benchmark whose instruction was lost, so that only its raw material is left.

Whatever the language, some words of a text that is written to be understood (the, of; an instruction of one's own)
return in most texts of a benchmark. In bare lists and fragments none does.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from train.data_folders.check.finding import WARNING, Finding
from train.data_folders.check.folder import CheckedFolder
from train.data_folders.questions import words_of

FEWEST_TEXTS = 50
RECURS = 0.2  # share of a benchmark's texts that its most frequent word is in, at least
SENTENCES = 0.5  # share of texts with the end of a sentence in them, at least, where no word recurs
ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")


def instruction_findings(folder: CheckedFolder) -> list[Finding]:
    """Benchmarks whose texts have neither a word in common nor sentences."""
    queries, found = folder.dataset.queries, []
    for benchmark, texts in queries.groupby("benchmark", observed=True)["text"]:
        if len(texts) < FEWEST_TEXTS:
            continue
        words = Counter(word for text in texts for word in set(words_of(text)))
        word, n = words.most_common(1)[0] if words else ("", 0)
        sentences = np.mean([any(end in text for end in ENDS) for text in texts])
        if n / len(texts) < RECURS and sentences < SENTENCES:
            found.append(
                Finding(
                    WARNING,
                    "lost instruction",
                    str(benchmark),
                    f"the texts have no word in common (the most frequent, {word!r}, is in {n / len(texts):.0%}) and "
                    f"{1 - sentences:.0%} have no sentence: material without a request",
                    "put the instruction back that the models were given, or leave the benchmark out",
                    len(texts),
                    folder.ids(texts.index),
                )
            )
    return found
