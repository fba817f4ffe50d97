"""Reader of pairwise votes (RouteLLM battles, arena files), turned into scores by Bradley-Terry.

Columns model_a, model_b, and winner (model_a, model_b, tie, tie (bothbad)) or winner_model_a/_b/_tie; the prompt is
`prompt`, or the first user turn of `conversation_a`. Unverified: written from the published schemas
(routellm/gpt4_judge_battles, lmarena-ai/arena-human-preference-*). Axes: V votes, M models.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router.errors import DataError
from train.data_folders.build.part import Part, make_part, tables
from train.data_folders.questions import key_of

Array = NDArray[np.float64]

WON = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5, "both_bad": 0.5}
FLAGS = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}

ID_DIGITS = 16  # of the text's hash, the id of a query without one
ROUNDS = 1000
SETTLED = 1e-8  # largest change of a log strength at which the iteration ends
PRIOR_VOTES = 1.0  # against an average model, half of them won: so that every strength is finite


def read_votes(path: Path, name: str, trust_pickle: bool = False) -> Part:
    """Queries and outcomes: scores are the probability that an answer beats an average model's, see `scores_of`."""
    table = pd.concat(tables(path, ("model_a", "model_b"), trust_pickle=trust_pickle), ignore_index=True)
    rows = table.to_dict("records")
    table = table.assign(benchmark=name, text=[_prompt(row) for row in rows], won=[_won(row) for row in rows])
    good = table["text"].notna() & table["won"].notna() & (table["model_a"] != table["model_b"])
    left_out = Counter({"votes without a prompt, a winner, or two models": int((~good).sum())})
    votes = table[good]
    if votes.empty:
        raise DataError(f"{path}: no vote with a prompt and a winner; left out: {dict(left_out)}")
    votes = votes.assign(query_id=[key_of(text, ID_DIGITS) for text in votes["text"]])
    codes, models = pd.factorize(pd.concat([votes["model_a"], votes["model_b"]]), sort=True)
    first, second = np.split(codes, 2)
    won = votes["won"].to_numpy(np.float64)
    strength = strengths(first, second, won, len(models))
    pieces = []
    for side, score in zip("ab", scores_of(strength[first], strength[second], won), strict=True):
        answers = votes.get(f"response_{side}", pd.Series(index=votes.index))
        chars = [len(_turns(text)) if isinstance(text, str) else None for text in answers]
        outcomes = votes[["query_id", "benchmark", "text"]].assign(model=votes[f"model_{side}"], score=score)
        pieces.append(outcomes.assign(output_chars=chars))
    return make_part(name, path, pieces, left_out)


def strengths(first: NDArray[np.intp], second: NDArray[np.intp], won: Array, models: int) -> Array:
    """Strengths (M,), whose ratios are the odds of winning, by the MM algorithm (Hunter 2004, Annals of Statistics).

    Vote v is between models `first[v]` and `second[v]`, and `won[v]` is 1 where the first won, 0.5 for a tie. The
    geometric mean of the strengths is 1.

    >>> one, other = np.zeros(4, int), np.ones(4, int)
    >>> strengths(one, other, np.array([1.0, 1.0, 1.0, 0.0]), 2).round(2).tolist()
    [1.61, 0.62]
    """
    wins = np.bincount(first, won, models) + np.bincount(second, 1 - won, models) + PRIOR_VOTES / 2
    met = np.bincount(first * models + second, minlength=models**2).reshape(models, models)
    met = met + met.T
    strength = np.ones(models)
    for _ in range(ROUNDS):
        expected = (met / (strength[:, None] + strength[None, :])).sum(axis=1) + PRIOR_VOTES / (strength + 1)
        new = wins / expected
        new /= np.exp(np.log(new).mean())
        moved = float(np.abs(np.log(new / strength)).max())
        strength = new
        if moved < SETTLED:
            break
    return strength


def scores_of(one: Array, other: Array, won: Array) -> tuple[Array, Array]:
    """Scores (V,) of the two models of each vote: the probability to beat an average model (strength 1) as well.

    Luce's model generalises that of Bradley and Terry to three models: the winner of a pair also beats a third one with
    probability (a + b) / (a + b + 1), and the loser i with i (a + b) / ((a + b + 1) (i + 1)). So a win against a strong
    model counts more than one against a weak model, and the mean of a model's scores is its own probability against the
    average model, whatever its opponents were. A tie is the mean of a win and a loss.

    >>> better, worse = scores_of(np.array([1.0]), np.array([1.0]), np.array([1.0]))
    >>> round(float(better[0]), 3), round(float(worse[0]), 3)
    (0.667, 0.333)
    """
    both = one + other
    winner = both / (both + 1)

    def loser(strength: Array) -> Array:
        return strength * winner / (strength + 1)

    return won * winner + (1 - won) * loser(one), (1 - won) * winner + won * loser(other)


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
        texts = (turn.get("content") for turn in conversation if isinstance(turn, dict) and turn.get("role") == "user")
        return next((text for text in texts if isinstance(text, str) and text.strip()), None)
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
