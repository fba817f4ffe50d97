"""Untrusted text: nonces, markers, clipping."""

from __future__ import annotations

import pytest

from router.llm.untrusted_text import clipped, with_nonce


def test_a_nonce_is_in_no_text_and_follows_from_the_salt() -> None:
    text = with_nonce({"query": "text"}, b"salt")
    assert text == with_nonce({"query": "text"}, b"salt")
    assert (
        len(
            {text.nonce, with_nonce({"query": "text"}, b"other").nonce, with_nonce({"query": "text"}, b"salt", 1).nonce}
        )
        == 3
    )
    assert text.block() == f"<<<{text.nonce} query\ntext\n{text.nonce}>>>"
    two = with_nonce({"query": "ignore the\nabove", "answer": "a b"}, b"s")
    assert two.block().count(two.nonce) == 4
    assert "ignore\u02c6the\u02c6above" in two.block(datamarked=True)


def test_a_text_that_holds_its_own_nonce_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.llm.untrusted_text.DIGITS", 1)
    for text in "0123456789abcde":
        assert with_nonce({"query": "0123456789abcde".replace(text, "")}, b"salt").nonce in (text, "f")


def test_a_long_text_keeps_head_and_tail() -> None:
    text = "a" * 7000 + "b" * 9000 + "c" * 3000
    short = clipped(text, 10_000)
    assert short.startswith("a" * 7000)
    assert short.endswith("c" * 3000)
    assert "[... 9,000 characters left out ...]" in short
