"""Votes between two models: RouteLLM's battles and arena-style files, as outcomes of both models.

Columns model_a, model_b, and winner (model_a, model_b, tie, tie (bothbad)) or winner_model_a/_b/_tie; the prompt is
`prompt`, or the first user turn of `conversation_a`. Unverified: written from the published schemas
(routellm/gpt4_judge_battles, lmarena-ai/arena-human-preference-*).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from router.errors import DataError
from train.data_folders.build.files import tables
from train.data_folders.build.part import Part, make_part
from train.data_folders.build.sources.bradley_terry import outcomes, strengths

WON = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5, "both_bad": 0.5}
FLAGS = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}
ANSWERS = ("response_a", "response_b")


def read_votes(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes: the chance that the answer beats an average model's, see `bradley_terry.outcomes`."""
    left_out = Counter[str]()
    votes: list[dict[str, Any]] = []
    for table in tables(path, ("model_a", "model_b"), trust_pickle=trust_pickle):
        for row in table.to_dict("records"):
            text, won = _prompt(row), _won(row)
            if text is None or won is None or row["model_a"] == row["model_b"]:
                left_out["votes without a prompt, a winner, or two models"] += 1
            else:
                votes.append(
                    {"text": text, "won": won, **{key: row.get(key) for key in ("model_a", "model_b", *ANSWERS)}}
                )
    if not votes:
        raise DataError(f"{path}: no vote with a prompt and a winner; left out: {dict(left_out)}")
    return make_part(name, path, _queries(votes, name), _outcomes(pd.DataFrame(votes)), left_out)


def _queries(votes: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{"query_id": _key(vote["text"]), "benchmark": name, "text": vote["text"]} for vote in votes]


def _outcomes(votes: pd.DataFrame) -> list[dict[str, Any]]:
    models = sorted({*votes["model_a"], *votes["model_b"]})
    place = {model: i for i, model in enumerate(models)}
    first, second = (votes[side].map(place).to_numpy(np.intp) for side in ("model_a", "model_b"))
    won = votes["won"].to_numpy(np.float64)
    strength = strengths(first, second, won, len(models))
    keys, found = [_key(text) for text in votes["text"]], []
    scores = outcomes(strength[first], strength[second], won)
    for side, answer, score in zip(("model_a", "model_b"), ANSWERS, scores, strict=True):
        for key, model, text, value in zip(keys, votes[side], votes[answer], score.tolist(), strict=True):
            chars = len(_turns(text)) if isinstance(text, str) else None
            found.append({"query_id": key, "model": model, "score": value, "output_chars": chars})
    return found


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _won(row: dict[str, Any]) -> float | None:
    """1 where the first model won, 0.5 for a tie; None for an unknown winner."""
    if "winner" in row:
        return WON.get(str(row["winner"]).lower())
    return next((value for flag, value in FLAGS.items() if row.get(flag) == 1), None)


def _prompt(row: dict[str, Any]) -> str | None:
    """The query's text: all turns of the prompt, or the first user turn of a conversation."""
    if isinstance(row.get("prompt"), str) and row["prompt"].strip():
        return _turns(row["prompt"])
    conversation = row.get("conversation_a")
    if isinstance(conversation, str):
        try:
            conversation = json.loads(conversation)
        except json.JSONDecodeError:
            return None
    if isinstance(conversation, list | np.ndarray):
        said = (turn.get("content") for turn in conversation if isinstance(turn, dict) and turn.get("role") == "user")
        return next((text for text in said if isinstance(text, str) and text.strip()), None)
    return None


def _turns(text: str) -> str:
    """Text that is a JSON list of turns, joined; other text as it is.

    >>> _turns('["One?", "Two?"]'), _turns("[sic] One?")
    ('One?\\n\\nTwo?', '[sic] One?')
    """
    if text.startswith("["):
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return text
        if isinstance(found, list):
            return "\n\n".join(str(turn) for turn in found if turn is not None)
    return text
