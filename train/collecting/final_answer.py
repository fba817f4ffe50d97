"""Finds what a model finally answered in what it wrote: the answer, a letter, a number. Pure; judges nothing."""

from __future__ import annotations

import re
import string
import unicodedata

THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
ANSWER = re.compile(r"\banswer\b(?: is)?[ \t]*[:=]?[ \t]*(.+)", re.IGNORECASE)
AROUND = string.whitespace + "*_`$\"'.,;:!()[]"
NUMBER = re.compile(
    r"(?:(?<![\w)])[-+\u2212])?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?"
)
LETTER = re.compile(r"(?<![A-Za-z0-9'])\(?([A-Z])\)?(?![A-Za-z0-9'])")
CHOSEN = re.compile(
    r"\b(?:answer|option|choice)\b(?: is| would be)?[ \t]*[:=]?[ \t*]*\(?([A-Za-z])\)?(?![A-Za-z0-9'])", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """`text` without what a model wrote to itself between <think> and </think>."""
    return THOUGHT.sub("", text).strip()


def final_answer(text: str) -> str:
    """What is boxed last, else what stands behind the last `answer:`, else the last line that is not blank.

    >>> final_answer("Let x = 3. **Answer:** 42."), final_answer("so we get \\\\boxed{\\\\frac{1}{2}}")
    ('42', '\\\\frac{1}{2}')
    """
    text = without_thoughts(text)
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    plain = text.replace("**", "")
    found = ANSWER.findall(plain)
    lines = [line for line in plain.splitlines() if line.strip()]
    return (found[-1] if found else lines[-1] if lines else "").strip(AROUND)


def _boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth < 0:
            return text[begin:place].strip()
    return None


def normalised(text: str) -> str:
    """`text` without what does not matter to an exact match: case, width of letters, white space, signs around it.

    >>> normalised("  The  “Nile”. ") == normalised("the “nile”")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(AROUND)


def chosen_letter(text: str) -> str | None:
    """The option that an answer settles on, as a capital letter.

    >>> [chosen_letter(text) for text in ("B", "(c) because A is wrong", "I first took A. The answer is (D).", "none")]
    ['B', 'C', 'D', None]
    """
    final = final_answer(text).strip()
    if re.fullmatch(r"[A-Za-z]", final):
        return final.upper()
    text = without_thoughts(text)
    if found := CHOSEN.findall(text.replace("**", "")):
        return str(found[-1]).upper()
    if begins := re.match(r"[\s*]*\(?([A-Za-z])[).:]", text):
        return begins.group(1).upper()
    found = LETTER.findall(final)
    return str(found[-1]) if found else None


def final_number(text: str) -> float | None:
    """The last number of the final answer, else of the text; 1/2 and 1,000.5 and 3e8 are numbers.

    >>> [final_number(text) for text in ("about $1,234.50 in all", "Answer: 1/2", "x = -3", "1,000", "a 3-4", "none")]
    [1234.5, 0.5, -3.0, 1000.0, 4.0, None]
    """
    for place in (final_answer(text), without_thoughts(text)):
        place = re.sub(r"\\d?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", place)
        found = [match.group() for match in NUMBER.finditer(place)]
        if found:
            return _value(found[-1])
    return None


def _value(text: str) -> float | None:
    above, _, below = text.replace(",", "").replace("\u2212", "-").partition("/")
    try:
        return float(above) / (float(below) if below else 1.0)
    except (ValueError, ZeroDivisionError):
        return None
