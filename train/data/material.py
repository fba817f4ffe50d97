"""Long material around a query that is unrelated to it: paragraphs of training texts, made-up prose, logs and tables.

Pure functions of texts and a `random.Random`. What is asked stays, so labels stay; outcomes were of the query alone.
"""

import math
import re
from collections.abc import Iterable, Sequence
from random import Random

from train.data import wordings
from train.data.variants import made_up_sentence

LEAST_CHARS, MOST_CHARS = 1_800, 36_000  # of the material: about 300 to 6,000 words
LONGEST_TASK = 3_000  # characters of a query that is put into material
PARAGRAPH_WORDS = 30  # a training text's paragraph of fewer words is no material
MADE_UP = 600  # paragraphs
BLANK_LINES = re.compile(r"\n\s*\n")


def passages(texts: Iterable[str]) -> list[str]:
    """Paragraphs of `texts` that ask nothing: long enough, not the last of its text, without a question mark."""
    return [
        part
        for text in texts
        for part in BLANK_LINES.split(text)[:-1]
        if not re.search("[?？؟]", part) and len(part.split()) >= PARAGRAPH_WORDS
    ]


def made_up(random: Random) -> list[str]:
    """MADE_UP paragraphs: prose, and at the end a sixth of each of logs and tables."""
    return [kind(random) for kind in (*[_prose] * 4, _log, _table) for _ in range(MADE_UP // 6)]


def _prose(random: Random) -> str:
    return " ".join(made_up_sentence(random) for _ in range(random.randint(3, 9)))


def _log(random: Random) -> str:
    levels = ("INFO", "INFO", "DEBUG", "WARN")
    return "\n".join(
        f"2025-{random.randint(1, 12):02}-11 {random.randint(0, 23):02}:{random.randint(0, 59):02} "
        f"{random.choice(levels)} worker-{random.randint(1, 9)} job {random.randint(1000, 9999)} took "
        f"{random.randint(3, 900)} ms"
        for _ in range(random.randint(5, 15))
    )


def _table(random: Random) -> str:
    mark = random.choice((",", " | ", "\t"))
    rows = ((random.choice(wordings.SUBJECTS), random.randint(1, 999), random.random()) for _ in range(10))
    return "\n".join(f"{name}{mark}{count}{mark}{share:.2f}" for name, count, share in rows)


def composed(text: str, pools: Sequence[Sequence[str]], random: Random) -> str:
    """`text` before, after or amid neighbouring paragraphs of one of `pools`, which are not empty.

    The material has LEAST_CHARS to MOST_CHARS, evenly on a log scale.
    """
    pool = random.choice(pools)
    at, left = random.randrange(len(pool)), math.exp(random.uniform(math.log(LEAST_CHARS), math.log(MOST_CHARS)))
    parts: list[str] = []
    while left > 0:
        parts.append(pool[at][: int(left) + 1])
        left -= len(parts[-1])
        at = (at + 1) % len(pool)
    before, after = random.choice(wordings.TASK_FRAMES)
    place = random.choice(("first", "last", "last", "amid"))
    cut = {"first": 0, "last": len(parts), "amid": random.randint(1, len(parts))}[place]
    opened, closed = random.choice(wordings.MATERIAL_FRAMES)
    around = [opened + "\n\n".join(some) + closed if some else "" for some in (parts[:cut], parts[cut:])]
    return "\n\n".join(part for part in (around[0], before + text + after, around[1]) if part)


def beside(text: str, second: str, random: Random) -> str:
    """`text` before or after a second task, whose work is asked for too.

    >>> beside("2+2?", "Say hi.", Random(1))
    '2+2?\\n\\nAnother thing: Say hi.'
    """
    first, last = random.sample((text, second), 2)
    before, between = random.choice(wordings.SECOND_FRAMES)
    return before + first + between + last
