"""Variants of a query that ask for the same: typed otherwise, or framed by a greeting, a system prompt or JSON.

Pure functions of a text and a `random.Random`; labels and outcomes of the query stay true of its variants. Rewordings
that a study measures with are others (`train.studies`). Knows no rows and no tokens.
"""

import json
import re
from collections.abc import Callable
from random import Random

from train.data import wordings

Variant = Callable[[str, Random], str]

TYPED_WORD = re.compile(r"(?<![\w\\$.@/_])[^\W\d_]{4,}(?![\w(=@/_])")  # no number, formula, path or call
SENTENCE_MARK = re.compile(r"(?<=\w)[.,;:!?](?=\s|$)")
FINAL_MARK = re.compile(r"[.!?。？！؟।]+\s*$")
LANGUAGE_WORDS = 80  # words at the start of a query that tell its language


def typos(text: str, random: Random) -> str:
    """`text` with letters swapped, dropped or doubled in 2% to 8% of its words, at least in one.

    Words of four or more letters of a script that has capitals; a text without such words stays as it is.
    """
    words = [found.span() for found in TYPED_WORD.finditer(text) if found[0].lower() != found[0].upper()]
    count = min(len(words), max(1, round(len(words) * random.uniform(0.02, 0.08))))
    parts, done = [], 0
    for start, end in sorted(random.sample(words, count)):
        parts += [text[done:start], _mistyped(text[start:end], random)]
        done = end
    return "".join([*parts, text[done:]])


def _mistyped(word: str, random: Random) -> str:
    at = random.randrange(1, len(word) - 1)
    letter, after = word[at], word[at + 1]
    ways = [after, letter * 2 + after, *([after + letter] if letter != after else [])]
    return word[:at] + random.choice(ways) + word[at + 2 :]


def casing(text: str, random: Random) -> str:
    """`text` in lower case (half of the time), capitals, title case or with a small first letter."""
    kind = random.choice(("lower", "lower", "lower", "upper", "title", "first"))
    if kind == "title":
        return re.sub(r"(?<!\w)\w", lambda found: found[0].upper(), text)
    if kind == "first":
        return text[:1].lower() + text[1:]
    return text.lower() if kind == "lower" else text.upper()


def spacing(text: str, random: Random) -> str:
    """`text` with other white space: around it, at the starts or ends of lines, between lines, or between words."""
    kind = random.randrange(5)
    if kind == 0:
        return random.choice((" ", "\n", "\t", "\n\n ")) * random.randint(1, 4) + text + random.choice((" ", "\n")) * 3
    if kind == 1:
        return text.replace("\n", "\n\n") + "\n\n"
    if kind == 2:
        indent = random.choice(("\t", "    ", "  "))
        return indent + text.replace("\n", "\n" + indent)
    if kind == 3:
        return text.replace("\n", "  \n") + "   "
    return re.sub(" ", lambda _: "  " if random.random() < 0.15 else " ", text)


def unpunctuated(text: str, random: Random) -> str:
    """`text` without its last mark, or without any mark after a word."""
    return FINAL_MARK.sub("", text) if random.random() < 0.5 else SENTENCE_MARK.sub("", text)


def greeting(text: str, random: Random) -> str:
    """`text` after a polite opening, in its likely language or in English."""
    return random.choice(_language(text, random).openings) + text


def plea(text: str, random: Random) -> str:
    """`text` before thanks, a plea or filler that asks nothing, in its likely language or in English."""
    return text + random.choice((" ", "\n", "\n\n")) + random.choice(_language(text, random).closings)


def aside(text: str, random: Random) -> str:
    """`text` before something that is not asked: code, a remark, signs, or a task that is told to be left."""
    kind = random.random()
    if kind < 0.35:
        before, after = random.choice(wordings.LEFT_FRAMES)
        added = before + random.choice(wordings.LEFT_TASKS) + after
    elif kind < 0.5:
        added = " ".join(_signs(random) for _ in range(random.randint(4, 16)))
    elif kind < 0.6:
        added = random.choice((" ", ", ")).join(random.sample(wordings.ASIDE_WORDS, random.randint(4, 10)))
    elif kind < 0.7:
        added = " ".join(made_up_sentence(random) for _ in range(random.randint(1, 3)))
    else:
        asides = random.sample(wordings.ASIDES, random.choice((1, 1, 2)))
        added = random.choice(wordings.ASIDE_FRAMES) + "\n".join(asides)
    return text + random.choice((" ", "\n", "\n\n")) + added


def _signs(random: Random) -> str:
    letters = "0123456789abcdefxyz" if random.random() < 0.4 else wordings.ASIDE_SIGNS
    return "".join(random.choices(letters, k=random.randint(1, 5)))


def made_up_sentence(random: Random) -> str:
    """A sentence that asks nothing and is about nothing in particular."""
    return " ".join(map(random.choice, (wordings.SUBJECTS, wordings.PREDICATES, wordings.CIRCUMSTANCES))) + "."


def _language(text: str, random: Random) -> wordings.Language:
    own = likely_language(text)
    return (wordings.SCRIPTS | wordings.LATIN)[own] if random.random() < 0.8 else wordings.ENGLISH


def likely_language(text: str) -> str:
    """Code of the likely language of `text`, "en" in doubt.

    >>> likely_language("Wie hoch ist der Mont Blanc?"), likely_language("今日は何曜日ですか"), likely_language("2+2")
    ('de', 'ja', 'en')
    """
    words = text[: 12 * LANGUAGE_WORDS].lower().split()[:LANGUAGE_WORDS]
    start = " ".join(words)
    for code, language in wordings.SCRIPTS.items():
        if len(re.findall(language.known_by, start)) * 5 > len(start):
            return code
    counts = {code: sum(word in language for word in words) for code, language in FREQUENT.items()}
    best = max(counts, key=lambda code: counts[code])  # English is the first of equals
    return best if counts[best] >= 2 else "en"


FREQUENT = {code: frozenset(language.known_by.split()) for code, language in wordings.LATIN.items()}


def framed(frames: tuple[tuple[str, str], ...]) -> Variant:
    """The variant that puts a text into one of `frames`: what stands before it and after it."""

    def variant(text: str, random: Random) -> str:
        before, after = random.choice(frames)
        return before + text + after

    return variant


def system_prompt(text: str, random: Random) -> str:
    """`text` after a system prompt: a role and up to six rules, as a paragraph or as a list."""
    role, rules = random.choice(wordings.ROLES), random.sample(wordings.RULES, random.choice((0, 1, 2, 3, 6)))
    joined = random.choice((" ", "\n", "\n- ", "\n* ")).join([role, *rules])
    before, between, after = random.choice(wordings.SYSTEM_FRAMES)
    return before + joined + between + text + after


def block_quote(text: str, random: Random) -> str:
    """`text` as a block quote of Markdown, with or without a line that introduces it."""
    return random.choice(wordings.QUOTED_BY) + "> " + text.replace("\n", "\n> ")


def json_wrapper(text: str, random: Random) -> str:
    """`text` as a field of a JSON object, alone or among others, or as the message of a chat request."""
    if random.random() < 0.2:
        body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
    else:
        body = {random.choice(wordings.JSON_FIELDS): text}
    fields = list((body | random.choice(wordings.JSON_OTHERS)).items())
    random.shuffle(fields)
    return json.dumps(dict(fields), ensure_ascii=random.random() < 0.2, indent=random.choice((None, None, 2)))


def transcript(text: str, random: Random) -> str:
    """`text` as the last turn of a chat, after one to three turns of chit-chat."""
    user, assistant = random.choice(wordings.SPEAKERS)
    turns = [
        f"{user}{said}\n{assistant}{reply}" for said, reply in random.sample(wordings.CHATTER, random.randint(1, 3))
    ]
    end = "\n" + assistant.rstrip() if random.random() < 0.4 else ""
    return random.choice(("\n", "\n\n")).join([*turns, user + text]) + end


# A variant that stands there more than once is drawn more often: what was read worst. Case and blanks are met by an
# uncased tokenizer (`scripts/extract_e5.py`) and by form.
TYPING: tuple[Variant, ...] = (typos, typos, typos, casing, spacing, unpunctuated)
FRAMING: tuple[Variant, ...] = (
    *[greeting] * 2,
    *[plea] * 2,
    *[aside] * 6,
    *[system_prompt] * 3,
    framed(wordings.QUESTION_FRAMES),
    framed(wordings.MARKDOWN_FRAMES),
    framed(wordings.FENCES),
    block_quote,
    json_wrapper,
    transcript,
)


def varied(text: str, random: Random) -> str:
    """`text` typed otherwise, framed, or both: one or two variants of a kind."""
    framing = random.random() < 0.7
    typing = not framing or random.random() < 0.4
    chosen = random.sample(TYPING, random.choice((1, 1, 2))) if typing else []
    chosen += random.sample(FRAMING, random.choice((1, 1, 1, 2))) if framing else []
    for variant in chosen:
        text = variant(text, random)
    return text
