"""Risk-controlled routing of a checkpoint: `python -m train risk CHECKPOINT --pool P --delta 0.01 --epsilon 0.1`.

Finds the cheapest dial whose mean loss of score against the best single model is at most delta, with confidence
1 - epsilon. The dial is chosen on the validation folds, judged on the test folds. Where no dial is
certified, the best single model answers. Axes: P dials, B queries, M candidates.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from router.evaluation.metrics import Array
from router.evidence.risk import cheapest_safe
from router.policy.goals import DIALS, dial_choices
from train.studies.inputs import HeldOut, apart, folds, held_out, router_and_data, study_parser


def losses(held: HeldOut, cost_range_usd: float) -> tuple[Array, Array]:
    """Score lost against the best single model and cost over its mean cost, (P, B) each by dial and query."""
    rows, choices = np.arange(len(held.score)), dial_choices(held.quality, held.cost, cost_range_usd)
    best = held.best_single
    return held.score[:, best] - held.score[rows, choices], held.realised[rows, choices] / held.realised[:, best].mean()


def judge(chosen: int | None, loss: Array, cost: Array) -> dict[str, Any]:
    """Dial, mean loss with its standard error, and share of cost saved, on queries (P, B).

    None stands for the best single model.

    >>> judge(0, np.array([[0.0, 1.0]]), np.array([[0.5, 0.25]]))
    {'dial': 0.0, 'loss': 0.5, 'loss_se': 0.5, 'cost_saved': 0.625}
    """
    if chosen is None:
        return {"dial": None, "loss": 0.0, "loss_se": 0.0, "cost_saved": 0.0}
    spread = float(loss[chosen].std(ddof=1)) / math.sqrt(loss.shape[1])
    saved = 1 - float(cost[chosen].mean())
    return {"dial": float(DIALS[chosen]), "loss": float(loss[chosen].mean()), "loss_se": spread, "cost_saved": saved}


def study(validation: HeldOut, test: HeldOut, cost_range_usd: float, options: argparse.Namespace) -> dict[str, Any]:
    """Report of one pool, as the command prints it."""
    chooses, judges = losses(validation, cost_range_usd), losses(test, cost_range_usd)
    chosen = cheapest_safe(chooses[0], options.delta, options.epsilon)
    return {
        "delta": options.delta,
        "epsilon": options.epsilon,
        "validation": {"n": len(validation.score), **judge(chosen, *chooses)},
        "test": {"n": len(test.score), **judge(chosen, *judges)},
    }


def main(args: list[str] | None = None) -> int:
    """Print one JSON object; 0 when done."""
    parser = study_parser("risk", __doc__.splitlines()[0])
    parser.add_argument("--pool", help="pool name or file; default the checkpoint's")
    parser.add_argument("--delta", type=float, default=0.01, help="mean loss of score allowed (default %(default)s)")
    parser.add_argument("--epsilon", type=float, default=0.1, help="probability of more (default %(default)s)")
    parser.add_argument("--val-folds", type=folds, default="7", help="folds chosen on (default %(default)s)")
    parser.add_argument("--folds", type=folds, default="8,9", help="folds judged (default %(default)s)")
    parser.add_argument("--cache", type=Path, default="runs/cache", help="folder of cached embeddings")
    options = parser.parse_args(args)
    sides = apart(options.val_folds, options.folds)
    router, dataset = router_and_data(options)
    pool = router.pool(options.pool)
    validation, test = (held_out(router, dataset, pool, side, options.cache) for side in sides)
    report = study(validation, test, router.candidates(pool).cost_range_usd, options)
    print(json.dumps({"pool": pool.name, **report}, indent=1))
    return 0
