"""Routing over pools of 10^3 to 10^6 models: loss, time and size of each kind of index.

    python scripts/bench/large_pools.py --write docs/performance.md      # two CPU cores: about ten minutes, 5 GB
    python scripts/bench/large_pools.py --device cuda                    # FAISS on the GPU where it has one, and torch

Many queries at once: scripts/bench/topk.py.

Pools are drawn by `large_pools_data`; queries are RouteMix-open's test folds where ROUTEMIX_DIR is set, otherwise pairs
of the quickstart's. All kinds and the exact product are timed in turn on the same queries, one query at a time, from
the query vector to the ranked best. Axes: B queries, M models, k results.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from large_pools_data import large_checkpoint
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from timing import CHECKPOINT, environment, quickstart_pairs, seconds, spread, table

from router import Router
from router.arrays import Array, concat, host, largest, like
from router.index.shortlist import Shortlist
from router.index.stores import find_faiss
from router.network import scoring
from router.network.vectors import QueryVectors
from router.options import CHARS_PER_TOKEN
from router.policy.candidates import Candidates
from router.policy.constraints import Constraints, cost_weights, rank

TOP = 8
THREADS = os.cpu_count() or 1
READ_ALL = ("product", "dense", "exact")  # kinds that read every profile, with all THREADS
ROUNDS = 3  # turns of each kind
WARM_UP = 10  # decisions of each kind in each round that are not timed
TIMED = 120  # decisions of each kind that are timed, at most
DENSE_TO = 20_000  # models up to which scoring and sorting all, as for small pools, is timed as well
NOTHING_DEMANDED = Constraints()
COLUMNS = (
    "models|kind|ms: median (p10 to p90)|× product|utility lost|winner listed|best 8 listed|bytes ÷ profiles'|built, s"
).split("|")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Case:
    """A query at a dial."""

    query: QueryVectors  # of one
    tokens: Array  # (1,)
    weight: NDArray[np.float64]  # (1,)


def main() -> None:
    """Measure every size, print the table, and write it where asked for."""
    args = parse()
    base = Router.from_pretrained(args.checkpoint, args.device)
    queries = query_texts(args.queries)
    embedding = base.encoder.encode(queries)
    query = base.network.query_vectors(embedding)
    tokens = like([len(text) / CHARS_PER_TOKEN for text in queries], query.difficulty)
    results = []
    for size in args.sizes:
        router = Router(large_checkpoint(base.checkpoint, size, seed=args.seed), args.device)
        results += measure_size(router, query, tokens, args)
        if args.device == "cpu" and "auto" in args.kinds:
            results.append(measure_route(router, queries, embedding, args))
        del router
        gc.collect()
    report = {"environment": settings(args), "results": results}
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = markdown(report)
    print(text)
    if args.write:
        before, rest = args.write.read_text(encoding="utf-8").split(BEGIN)
        args.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["auto", "flat"])
    parser.add_argument("--dials", type=float, nargs="+", default=[0, 3, 5, 8])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="BLAS' and FAISS', for decisions by an index and Router.route; all for the others",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this Markdown file")
    return parser.parse_args()


def query_texts(count: int) -> list[str]:
    """Queries of RouteMix-open's folds 8 and 9, or pairs of the quickstart's."""
    if os.environ.get("ROUTEMIX_DIR"):
        from router.evaluation.dataset import read_dataset

        table = read_dataset().queries
        return table[table["fold"].isin([8, 9])].sample(count, random_state=0)["text"].tolist()
    pairs = quickstart_pairs()
    return [pairs[i % len(pairs)] for i in range(count)]


def measure_size(router: Router, query: QueryVectors, tokens: Array, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row of figures for each kind of index over one pool."""
    candidates = router.candidates()
    cases = {dial: cases_at(dial, query, tokens, candidates) for dial in args.dials}
    flat = [case for part in zip(*cases.values(), strict=True) for case in part]  # dials in turn
    best = [exact(candidates, case) for case in flat]
    decide: dict[str, Callable[[Case], Any]] = {"product": lambda case: bare_product(candidates, case)}
    if len(candidates.facts) <= DENSE_TO:
        decide["dense"] = lambda case: ranked(candidates, case)
    decide["exact"] = decision(made := Shortlist(candidates, router.network.size.protocols, "exact", router.device))
    lists, built = {"exact": made}, {"exact": 0.0}
    for kind in args.kinds:
        start = time.perf_counter()
        lists[kind] = Shortlist(candidates, router.network.size.protocols, kind, router.device)
        built[kind] = time.perf_counter() - start
        decide[kind] = decision(lists[kind])
    times = timed(decide, flat, router.device, args.threads)
    profiles = sum(part.nbytes for part in (candidates.profile, candidates.bias, candidates.log_tokens))
    rows = []
    for kind in decide:
        row: dict[str, Any] = {"models": len(candidates.facts), "kind": kind, **quantiles(times[kind])}
        row["ratio"] = row["ms"] / quantiles(times["product"])["ms"]
        if kind in lists and kind != "exact":
            lost, found, eight = losses(lists[kind], flat, best, candidates)
            index = lists[kind].index
            assert index is not None
            row |= {"lost": lost, "winner_found": found, "top8_found": eight, "built_s": built[kind]}
            row |= {"index": index.kind, "bytes_ratio": index.nbytes / profiles, "columns": index.projection.length}
        rows.append(row)
    return rows


def cases_at(dial: float, query: QueryVectors, tokens: Array, candidates: Candidates) -> list[Case]:
    """One case for each query at a dial."""
    weights = cost_weights(dial, len(tokens), candidates.cost_range_usd)[1]
    each_query = [slice(row, row + 1) for row in range(len(weights))]
    return [Case(query.take(at), tokens[at], weights[at]) for at in each_query]


def exact(candidates: Candidates, case: Case) -> tuple[list[int], float]:
    """The TOP rows of greatest utility, and the greatest utility."""
    seen = candidates.predict(case.query, case.tokens)
    utility, rows = largest(scoring.utility(seen.quality, seen.cost_usd, like(case.weight, seen.quality)), TOP)
    return rows[0].tolist(), float(utility[0, 0])


def bare_product(candidates: Candidates, case: Case) -> Array:
    """The best TOP by logit alone, the start of any exact decision."""
    return largest(candidates.logits(case.query.vector), TOP)[1]


def ranked(candidates: Candidates, case: Case) -> Array:
    """The best TOP of all candidates, scored and sorted as the router does."""
    seen = candidates.predict(case.query, case.tokens)
    return rank(seen.quality, seen.cost_usd, case.weight, np.ones(seen.quality.shape, bool), TOP)[1]


def decision(shortlist: Shortlist) -> Callable[[Case], Array]:
    """A function from a case to the pool's rows of the best TOP."""

    def decide(case: Case) -> Array:
        rows = shortlist.narrow(case.query, case.tokens, case.weight, NOTHING_DEMANDED, TOP)
        return rows[host(ranked(shortlist.candidates.take(rows), case))[0]]

    return decide


def timed(
    decide: dict[str, Callable[[Case], Any]], cases: Sequence[Case], device: str, threads: int
) -> dict[str, list[float]]:
    """Milliseconds of each decision, by kind."""
    times: dict[str, list[float]] = {kind: [] for kind in decide}
    for turn in range(ROUNDS):
        for kind, run in decide.items():
            with threadpool_limits(THREADS if kind in READ_ALL else threads):
                some = [*cases[:WARM_UP], *cases[turn::ROUNDS][: TIMED // ROUNDS]]
                times[kind] += [1e3 * seconds(partial(run, case), device) for case in some][WARM_UP:]
    return times


def losses(
    shortlist: Shortlist, cases: Sequence[Case], best: Sequence[tuple[list[int], float]], candidates: Candidates
) -> tuple[float, float, float]:
    """Mean share of the exact utility lost, and shares of the winner and of the TOP best that are on the list."""
    lost, found, eight = [], [], []
    for case, (rows, utility) in zip(cases, best, strict=True):
        listed = shortlist.narrow(case.query, case.tokens, case.weight, NOTHING_DEMANDED, TOP)
        lost.append((utility - exact(candidates.take(listed), case)[1]) / abs(utility))
        names = set(listed.tolist())
        found.append(rows[0] in names)
        eight.append(len(names.intersection(rows)) / TOP)
    return statistics.mean(lost), statistics.mean(found), statistics.mean(eight)


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Median and spread of times in milliseconds."""
    low, middle, high = spread(times)
    return {"ms": middle, "ms_p10": low, "ms_p90": high}


def measure_route(router: Router, queries: list[str], embedding: Array, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of `Router.route` without the encoder, with the index that is chosen by size."""
    known = {text: embedding[row : row + 1] for row, text in enumerate(queries)}
    router.encoder.encode = lambda texts, batch_size=32: concat([known[text] for text in texts])  # type: ignore
    times = []
    with threadpool_limits(args.threads):
        for number, text in enumerate([*queries[:WARM_UP], *queries]):
            dial = args.dials[number % len(args.dials)]
            times.append(1e3 * seconds(partial(router.route, text, dial=dial, top=TOP)))
    return {"models": len(router.pool().candidates), "kind": "Router.route", **quantiles(times[WARM_UP:])}


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions and settings."""
    faiss = find_faiss()
    return environment("torch", device=args.device) | {
        "threads": f"{THREADS} for {', '.join(READ_ALL)}, {args.threads} for the others",
        "faiss": None if faiss is None else faiss.__version__,
        "queries": args.queries,
        "dials": args.dials,
        "seed": args.seed,
        "data": "RouteMix-open, folds 8 and 9" if os.environ.get("ROUTEMIX_DIR") else "the quickstart's queries",
    }


def markdown(report: dict[str, Any]) -> str:
    """The machine, and the figures as a table."""
    about, rows = report["environment"], []
    head = (
        f"{about['date']}, {about['gpu'] or 'not measured on a GPU'}; {about['processor']}, {about['cores']} cores "
        f"(threads of BLAS and FAISS: {about['threads']}; load average at the end: {about['load']}), "
        f"Python {about['python']}, torch {about['torch']}, FAISS {about['faiss']}. "
        f"{about['queries']} queries ({about['data']}), each at the dials "
        f"{', '.join(f'{dial:g}' for dial in about['dials'])}; pools drawn with seed {about['seed']}."
    )
    formats = {
        "ratio": ".3g", "lost": ".4%", "winner_found": ".1%", "top8_found": ".1%",
        "bytes_ratio": ".2f", "built_s": ".1f",
    }  # fmt: skip
    for row in report["results"]:
        kind = f"{row['kind']} ({row['index']})" if row.get("index") not in (None, row["kind"]) else row["kind"]
        times = f"{row['ms']:.3g} ({row['ms_p10']:.3g} to {row['ms_p90']:.3g})"
        others = (format(row[key], how) if key in row else "" for key, how in formats.items())
        rows.append((f"{row['models']:,}", kind, times, *others))
    return f"{head}\n\n{table(COLUMNS, rows)}"


if __name__ == "__main__":
    main()
