"""Text by strangers inside a prompt: between markers that they cannot know, and a ticket that the answer must repeat.

Whoever wrote the text cannot close the markers, since these hold a secret number; an answer that the text dictates word
for word lacks the number and is not accepted. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

DIGITS = 10  # of the secret number, hexadecimal
MARK = "\u02c6"  # stands for white space in marked text; rare in any text
CUT = "\n[... {n:,} characters left out ...]\n"


@dataclass(frozen=True)
class Sealed:
    """Named texts that are ready to stand in a prompt."""

    parts: Mapping[str, str]
    ticket: str

    def block(self, marked: bool = False) -> str:
        """The texts between their markers; `marked`: white space replaced by MARK.

        A model follows orders in marked text far less often, and still reads it (Spotlighting, arXiv 2403.14720).
        """
        texts = {name: re.sub(r"\s+", MARK, text.strip()) if marked else text for name, text in self.parts.items()}
        return "\n\n".join(f"<<<{self.ticket} {name}\n{text}\n{self.ticket}>>>" for name, text in texts.items())


def seal(parts: Mapping[str, str], salt: bytes, number: int = 0) -> Sealed:
    """`parts` with a ticket that only who knows `salt` can foretell; another `number` gives another ticket."""
    while True:
        asked = json.dumps([number, dict(parts)]).encode()
        ticket = hmac.new(salt, asked, hashlib.sha256).hexdigest()[:DIGITS]
        if not any(ticket in text for text in parts.values()):
            return Sealed(parts, ticket)
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
