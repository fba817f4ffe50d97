"""The paper's closed form as a router of its own: `python -m train closed-form`.

Profiles come from the annotated training queries of a data folder. Labels of the judged queries come from the LLM's
annotations or from a checkpoint's heads. Axes, pools and expected costs are the checkpoint's.
Axes: N annotated queries, B judged queries, M candidates, A = C + K.
"""

import argparse
import json
import sys
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError
from router.evaluation import metrics
from router.evaluation.dataset import Dataset, data_folder, read_dataset
from router.evaluation.pool_report import PoolOutcomes, labels, pool_outcomes, predict, reference_models, row_masks
from router.network.taxonomy import RANK_DECAY, Taxonomy
from router.routing.router import Router
from train.fit.closed_form import ClosedForm


def annotated_weights(dataset: Dataset, taxonomy: Taxonomy, decay: float) -> dict[int, NDArray[np.float32]]:
    """Rank weights (A,) of each annotated row of the folder."""
    return {
        row: np.concatenate(taxonomy.targets(note.capabilities, note.knowledge, decay))
        for row, note in labels(dataset).items()
    }


def annotated(outcomes: PoolOutcomes, weights: dict[int, NDArray[np.float32]], n: int) -> PoolOutcomes:
    """The outcomes of annotated rows, out of the folder's N; DataError where there is none."""
    mask = np.zeros(n, bool)
    mask[list(weights)] = True
    kept = outcomes.take(mask)
    if not len(kept.rows):
        raise DataError(
            "no annotated query has a score of every member of the pool: annotate some, or use another pool"
        )
    return kept


def judge(router: Router, dataset: Dataset, options: argparse.Namespace) -> dict[str, object]:
    """Figures of the closed form on the judged rows; with `labels` llm only annotated ones are judged."""
    pool = router.pool(options.pool)
    folds = [int(fold) for fold in options.folds.split(",")] if options.folds else None
    evaluated, training = row_masks(dataset, options.split, folds)
    weights = annotated_weights(dataset, router.taxonomy, options.alpha)
    outcomes, n = pool_outcomes(dataset, pool), len(dataset.queries)
    index = annotated(outcomes.take(training), weights, n)
    form = ClosedForm().fit(
        np.stack([weights[row] for row in index.rows]), index.score, index.realised_usd, options.beta
    )
    judged = outcomes.take(evaluated)
    if options.labels == "llm":
        judged = annotated(judged, weights, n)
    texts = dataset.queries["text"].to_numpy()[judged.rows].tolist()
    prediction = predict(router, texts, pool, progress=sys.stderr.isatty())
    labels = (
        np.stack([weights[row] for row in judged.rows])
        if options.labels == "llm"
        else np.concatenate([prediction.capability, prediction.knowledge], axis=1)
    )
    best, cheapest = reference_models(outcomes.take(training), pool)
    quality = form.predict(labels) / 2  # capabilities and domains each give up to one mean score
    report = metrics.evaluate(quality, prediction.cost_usd, judged.score, judged.realised_usd, best, cheapest)
    return {"index_queries": len(index.rows), **asdict(report)}


def main(args: list[str] | None = None) -> int:
    """Print one JSON object of figures; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m train closed-form", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="checkpoints/routemix", help="axes, pools, costs and predicted labels")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    parser.add_argument("--pool", help="pool name or file; default the checkpoint's")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--split", help="train, val, test or ood")
    rows.add_argument("--folds", help="folds, such as 8,9")
    parser.add_argument("--labels", choices=("llm", "predicted"), default="predicted")
    parser.add_argument("--alpha", type=float, default=RANK_DECAY, help="rank decay (default %(default)s)")
    parser.add_argument("--beta", type=float, default=0.0, help="price of cost, score per USD (default %(default)s)")
    options = parser.parse_args(args)
    router = Router.from_pretrained(options.checkpoint, backend="torch")
    print(json.dumps(judge(router, read_dataset(data_folder(options.data)), options)))
    return 0
