"""Decisions of the shipped checkpoint, recorded before a change of form and compared after it, equal to the bit.

    python scripts/record_decisions.py record decisions.json      # before
    python scripts/record_decisions.py compare decisions.json     # after: exits 1 and names what differs

Every pool, dials 0, 3, 5 and 8, guard on and off, budgets, qualities, constraints and attitudes, by onnxruntime and by
torch. The queries are drawn by a seed from ROUTEMIX_DIR, or with `--queries FILE` are that file's lines; a recording
holds no query, only their digest. Bits differ between machines: record and compare on one.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from router import Router

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKPOINT = REPOSITORY / "checkpoints" / "routemix"
BACKENDS = ("onnx", "torch")
DIALS = (0, 3, 5, 8)
EACH = 5  # queries a setting
# Rare words at the end of every third query: what the guard is there for.
TAIL = " quagmires phosphorylating wyverns sarcophagus trombones Herzegovina isotopic gargoyles manuscripts"
GOALS: tuple[dict[str, Any], ...] = ({"budget_usd_per_1k": 0.3}, {"quality_at_least": 0.6})
CONSTRAINTS: tuple[dict[str, Any], ...] = (
    {"deny": ["gpt-4*"]},
    {"allow": ["*llama*", "*Llama*", "*qwen*", "*Qwen*"]},
    {"max_price_usd_per_mtok": 1.0},
    {"context_tokens": 20_000},
    {"attitude": "pessimistic", "top": 2},
    {"dial": list(range(EACH))},
)


def settings(pools: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The arguments of `Router.route` that are tried, `EACH` queries each."""
    for pool, dial, guard in itertools.product(pools, DIALS, (False, True)):
        yield {"pool": pool, "dial": dial, "guard": guard}
    for pool, goal in itertools.product(pools, GOALS):
        yield {"pool": pool, **goal}
    for constraint in CONSTRAINTS:
        yield {"pool": pools[0], **constraint}


def read_queries(path: Path | None, number: int) -> list[str]:
    """The lines of the file, or `number` queries drawn from ROUTEMIX_DIR; SystemExit where there is neither."""
    if path is not None:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if "ROUTEMIX_DIR" not in os.environ:
        raise SystemExit("set ROUTEMIX_DIR to the data folder, or give --queries FILE with a query a line")
    from router.evaluation.dataset import read_dataset

    return random.Random(0).sample(read_dataset().queries["text"].tolist(), number)


def decide(backend: str, queries: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The decisions of one backend, each with the settings and the place of the query it belongs to."""
    router = Router.from_pretrained(CHECKPOINT, backend=backend)
    place = itertools.cycle(range(len(queries)))
    for setting in settings(sorted(router.pools)):
        rows = list(itertools.islice(place, EACH))
        texts = [queries[row] + TAIL if row % 3 == 0 else queries[row] for row in rows]
        for row, decision in zip(rows, router.route(texts, **setting), strict=True):
            raw = decision.to_json()
            raw["query"] = hashlib.sha256(decision.query.encode()).hexdigest()
            yield {"backend": backend, "setting": setting, "row": row, "decision": raw}


def main() -> None:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path, metavar="FILE", help="of the recording, JSON lines")
    parser.add_argument("--queries", type=Path, metavar="FILE", help="a query a line, not those of ROUTEMIX_DIR")
    wanted = parser.parse_args()
    queries = read_queries(wanted.queries, 250)
    made = [json.dumps(each) for backend in BACKENDS for each in decide(backend, queries)]
    if wanted.action == "record":
        flagged = sum('"flagged": "' in each for each in made)
        wanted.file.write_text("\n".join(made) + "\n", encoding="utf-8")
        print(f"recorded {len(made)} decisions, {flagged} with a flagged tail")
        return
    recorded = wanted.file.read_text(encoding="utf-8").splitlines()
    different = [(old, new) for old, new in itertools.zip_longest(recorded, made) if old != new]
    print(f"{len(made)} decisions, {len(different)} differ from the {len(recorded)} recorded")
    for old, new in different[:3]:
        print(f"- {old}\n+ {new}")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
