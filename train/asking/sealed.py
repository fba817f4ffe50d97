"""Text by strangers inside a prompt: between markers that they cannot know, and a ticket that the answer must repeat.

Whoever wrote the text cannot close the markers, since these hold a secret number; an answer that the text dictates word
for word lacks the number and is not accepted. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

DIGITS = 10  # of the secret number, hexadecimal
MARK = "\u02c6"  # stands for white space in marked text; rare in any text
CUT = "\n[... {n:,} characters left out ...]\n"


@dataclass(frozen=True)
class Sealed:
    """A text that is ready to stand in a prompt."""

    text: str
    ticket: str

    def block(self, marked: bool = False) -> str:
        """The text between its markers; `marked`: white space replaced by MARK.

        A model follows orders in marked text far less often, and still reads it (Spotlighting, arXiv 2403.14720).
        """
        text = re.sub(r"\s+", MARK, self.text.strip()) if marked else self.text
        return f"<<<{self.ticket}\n{text}\n{self.ticket}>>>"


def seal(text: str, salt: bytes, number: int = 0) -> Sealed:
    """`text` with a ticket that only who knows `salt` can foretell; another `number` gives another ticket."""
    while True:
        ticket = hmac.new(salt, f"{number}|{text}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:DIGITS]
        if ticket not in text:
            return Sealed(text, ticket)
        number += 1_000_003  # one text in a million million holds its own ticket


def clipped(text: str, most_chars: int, head_share: float = 0.7) -> str:
    """`text`, or its head and tail with a note between them where it is longer than `most_chars`.

    >>> clipped("a" * 70 + "-" * 900 + "z" * 30, 100).replace(chr(10), " ")[66:110]
    'aaaa [... 900 characters left out ...] zzzzz'
    """
    if len(text) <= most_chars:
        return text
    head = int(most_chars * head_share)
    return text[:head] + CUT.format(n=len(text) - most_chars) + text[len(text) - (most_chars - head) :]
