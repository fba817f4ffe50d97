"""Quickstart: routes the queries of quickstart_queries.txt with the shipped checkpoint, prints reasons and saving.

Every number comes from `Router`. Quality, cost and saving are predicted; no model is called.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from router import Decision, Router, RouterError

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKPOINT = REPOSITORY / "checkpoints" / "routemix"
QUERIES = Path(__file__).with_name("quickstart_queries.txt")


def read_queries(path: Path) -> list[str]:
    """Lines of the file that are not blank."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def best_single(router: Router, queries: Sequence[str]) -> tuple[str, float, float]:
    """The model of the default pool with the highest mean predicted quality over the queries; that mean, and its cost.

    The cost is the predicted one, in US dollars, of all queries on this model.
    """
    prediction = router.predict(queries)
    best = int(prediction.quality.mean(axis=0).argmax())
    quality, cost_usd = (each[:, best] for each in (prediction.quality, prediction.cost_usd))
    return router.pool().ids[best], float(quality.mean()), float(cost_usd.sum())


def describe(number: int, decision: Decision) -> str:
    """One decision as text, over several lines."""
    needs = ", ".join(f"{name} {weight:.2f}" for name, weight in list(decision.capabilities.items())[:3])
    about = ", ".join(f"{name} {weight:.2f}" for name, weight in list(decision.domains.items())[:3])
    lines = [
        f"{number:2}. {decision.query}",
        f"    -> {decision.model}  (predicted quality {decision.quality:.3f}, cost {decision.cost_usd:.6f} USD)",
        f"    {decision.level_word} ({decision.level:.1f} of 5); needs {needs}; about {about}",
    ]
    if decision.reasons is not None:
        lines += [f"    {line}" for line in decision.reasons.lines(3)]
    return "\n".join(lines) + "\n"


def summarise(decisions: Sequence[Decision], best: tuple[str, float, float]) -> str:
    """Queries of each model, and the predicted saving against always using the best single model."""
    name, best_quality, best_cost = best
    cost = sum(decision.cost_usd for decision in decisions)
    quality = sum(decision.quality for decision in decisions) / len(decisions)
    calls = Counter(decision.model for decision in decisions).most_common()
    per_thousand = 1000 / len(decisions)
    saving = 1 - cost / best_cost if best_cost else 0.0
    return "\n".join(
        [
            f"{len(decisions)} queries went to {len(calls)} models: " + ", ".join(f"{m} {n}x" for m, n in calls),
            f"routed           predicted quality {quality:.3f}, cost {cost * per_thousand:.3f} USD per 1,000 queries",
            f"always the best  predicted quality {best_quality:.3f}, cost {best_cost * per_thousand:.3f} USD "
            f"per 1,000 queries ({name})",
            f"Predicted, not yet verified: {saving:.0%} saved against always using the best model, "
            f"at {quality - best_quality:+.3f} quality.",
        ]
    )


def main() -> int:
    """Exit code: 0, or 1 with one line on stderr where the checkpoint or a query is not usable."""
    try:
        start = time.perf_counter()
        router = Router.from_pretrained(CHECKPOINT)
        loaded = time.perf_counter()
        decisions = router.route(read_queries(QUERIES))
        routed = time.perf_counter()
        best = best_single(router, [decision.query for decision in decisions])
    except RouterError as error:
        print(f"quickstart: error: {error}", file=sys.stderr)
        return 1
    pool, dial = decisions[0].pool, decisions[0].dial
    print(f"Pool {pool} ({len(router.pool().ids)} models), cost dial {dial:g} of 0 (quality) to 10 (cost)\n")
    for number, decision in enumerate(decisions, 1):
        print(describe(number, decision))
    print(summarise(decisions, best))
    print(f"Loading took {loaded - start:.1f} s, routing {len(decisions)} queries {routed - loaded:.2f} s.\n")
    print("Your own: .venv/bin/router route --explain 'your query' --dial 5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
