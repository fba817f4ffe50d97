"""Untrusted text in a prompt: markers around it that hold a secret nonce, which the answer must repeat.

The author of the text does not know the nonce, and so cannot close the markers. An answer that the text dictates word
for word lacks the nonce and is not accepted. No input or output.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

DIGITS = 10  # of the nonce, hexadecimal
MARK = "\u02c6"  # stands for white space in datamarked text; rare in any text
CUT = "\n[... {n:,} characters left out ...]\n"


@dataclass(frozen=True)
class UntrustedText:
    """Named untrusted texts with the nonce of their markers."""

    parts: Mapping[str, str]
    nonce: str

    def block(self, datamarked: bool = False) -> str:
        """The texts between their markers; `datamarked`: with white space replaced by MARK.

        A model follows orders in datamarked text far less often, and still reads it (Spotlighting, arXiv 2403.14720).
        """
        texts = {name: re.sub(r"\s+", MARK, text.strip()) if datamarked else text for name, text in self.parts.items()}
        return "\n\n".join(f"<<<{self.nonce} {name}\n{text}\n{self.nonce}>>>" for name, text in texts.items())


def with_nonce(parts: Mapping[str, str], salt: bytes, number: int = 0) -> UntrustedText:
    """`parts` with a nonce that cannot be foretold without `salt`; another `number` gives another nonce."""
    while True:
        nonce = hmac.new(salt, json.dumps([number, dict(parts)]).encode(), hashlib.sha256).hexdigest()[:DIGITS]
        if not any(nonce in text for text in parts.values()):
            return UntrustedText(parts, nonce)
        number += 1_000_003  # one text in a million million holds its own nonce


def clipped(text: str, most_chars: int, head_share: float = 0.7) -> str:
    """`text`; if it is longer than `most_chars`, its head and tail with a note between them.

    >>> clipped("a" * 70 + "-" * 900 + "z" * 30, 100).replace(chr(10), " ")[66:110]
    'aaaa [... 900 characters left out ...] zzzzz'
    """
    if len(text) <= most_chars:
        return text
    head = int(most_chars * head_share)
    return text[:head] + CUT.format(n=len(text) - most_chars) + text[len(text) - (most_chars - head) :]
