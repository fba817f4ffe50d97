"""Command `router add`: a model of a pool file is asked anchor questions, graded, fitted and written, or fitted from
published scores.

Heavy packages are imported inside.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from router.cli.arguments import Commands, add_command, add_verbosity, number
from router.cli.loading import find_checkpoint, needing, print_json, show_progress
from router.cli.onboarding.changing import (
    changing_checkpoint,
    onboarding_json,
    onboarding_lines,
    warn_of_dials,
    write_checkpoint,
)
from router.cli.text import table, usd
from router.errors import CapReachedError, PoolError, UsageError, known_names
from router.llm.options import add_spending_options, cache_path, check_cap

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import Checkpoint
    from router.llm.question import Answer
    from router.onboarding.anchors import Anchors
    from router.onboarding.interview import Graded, Interview
    from router.onboarding.nearest import ExpectedQuality
    from router.onboarding.prior import Prior
    from router.pools.pool import Candidate

logger = logging.getLogger(__name__)

ANCHORS, MAX_USD, MAX_TOKENS = 60, 2.0, 8192


@dataclass(frozen=True)
class _Fit:
    """What is fitted, and from what."""

    checkpoint: Checkpoint
    member: Candidate
    protocol: str
    benchmarks: dict[str, float]
    prior: Prior
    anchors: Anchors


def add_add(commands: Commands) -> None:
    """Add `router add` to the parser."""
    examples = [
        "router add my-model --pool POOL.yaml --max-usd 1",
        "router add my-model --pool POOL.yaml --scores gpqa_diamond=0.86 simpleqa_verified=0.5",
    ]
    text = "ask a new model a few questions, fit its profile and add it"
    command = add_command(commands, "add", text, run_add, examples)
    add = command.add_argument
    add("model", metavar="MODEL", help="the id of an entry in the pool file")
    add("--pool", metavar="FILE", required=True, help="pool file whose entry says where the model answers (upstream)")
    add(
        "--into",
        dest="checkpoint",
        metavar="CHECKPOINT",
        help="the checkpoint folder that is changed (default: the one that `router route` uses)",
    )
    known = command.add_argument_group("what is known of it")
    add = known.add_argument
    add("--anchors", type=number(int, 10, 500), metavar="N", help=f"questions that it is asked (default: {ANCHORS})")
    add(
        "--questions",
        metavar="FILE",
        help="choose from these: query, grade (number, choice, exact, regex) and answer per line of JSON (default: "
        "puzzles that come with the program)",
    )
    add(
        "--scores",
        nargs="+",
        metavar="NAME=VALUE",
        help="published scores from 0 to 1; nothing is asked then, unless --anchors says so",
    )
    add("--protocol", metavar="NAME", help="the trained protocol that it is prompted like (default: the pool file's)")
    add("--replace", action="store_true", help="fit a model anew that was added before")
    spending = command.add_argument_group("asking")
    add_spending_options(spending, MAX_USD, "the pool file")
    add = spending.add_argument
    add(
        "--max-tokens",
        type=number(int, 1),
        default=MAX_TOKENS,
        metavar="N",
        help=f"of an answer, with its reasoning (default: {MAX_TOKENS}, or the most that the model writes)",
    )
    add("--seed", type=number(int, 0), default=0, help="another draw of questions (default: 0)")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    add_verbosity(command)


def run_add(args: Namespace) -> int:
    """Ask, grade, fit, write, and show the profile beside its nearest known models."""
    args.checkpoint = find_checkpoint(args.checkpoint)
    member = _member(args)
    asked = args.anchors is not None or not args.scores
    if asked and member.upstream is None:
        raise UsageError(
            f"{args.model} has no upstream in {args.pool}: add to its entry upstream: {{api_base: https://..., model: "
            "..., key_env: NAME_OF_A_VARIABLE}, or give published scores with --scores NAME=VALUE ... and no --anchors"
        )
    from router.onboarding.add_model import onboard
    from router.onboarding.anchor_questions import read_questions
    from router.onboarding.nearest import beside_nearest

    with needing("ask", "router add"):  # a pattern in a question, and the client
        questions = read_questions(args.questions)
        if asked:
            from router.onboarding.interview import Interview
    with changing_checkpoint(args.checkpoint) as (folder, checkpoint):
        fit = _prepare(args, checkpoint, member, [each.query for each in questions])
        graded = None
        if asked:
            chosen = [questions[row] for row in fit.anchors.rows]
            graded = _ask(args, fit, Interview(_endpoint(member), chosen, _most_tokens(args, member)))
            if graded is None:  # only an estimate was wanted
                return 0
        found = onboard(
            checkpoint,
            member.facts,
            graded.answers if graded else None,
            benchmarks=fit.benchmarks,
            protocol=fit.protocol,
            pools=_pools(args, checkpoint),
            replace_old=args.replace,
            progress=show_progress(args),
        )
        write_checkpoint(found.checkpoint, folder)
    beside = beside_nearest(found.checkpoint, found.profile.system, fit.anchors.features)
    if args.json:
        figures = {"cut_short": graded.cut, "missing": graded.missing} if graded else {}
        print_json(onboarding_json(found) | figures | {"expected": [_plain(each) for each in beside]})
        return 0
    print("\n".join([*onboarding_lines(found), "", *_nearest_lines(found.checkpoint, beside)]))
    warn_of_dials(found)
    print(f"\nwritten to {folder}; route with it, or take it out again:")
    print(f"  router route --checkpoint {folder} --pool {args.pool} QUERY")
    print(f"  router forget {found.profile.system.id} --from {folder}")
    return 0


def _member(args: Namespace) -> Candidate:
    """The entry of the pool file, with prices of the price table where it states none."""
    from router.pools.pool import read_pool
    from router.pools.price_file import price_table

    found = {each.id: each for each in read_pool(args.pool, None, price_table()).candidates}
    if args.model not in found:
        raise PoolError(f"{args.pool} has no entry {args.model!r}; {known_names(args.model, found)}")
    return found[args.model]


def _endpoint(member: Candidate) -> Any:
    from router.llm.endpoint import endpoint_of

    endpoint = endpoint_of(member)
    if not endpoint.base_url:
        raise UsageError(
            f"{member.id} has no api_base: only the OpenAI protocol is spoken here, so name an address that speaks it; "
            "or answer the questions of `router anchors` with it and give their grades to `router onboard`"
        )
    endpoint.key()  # raises before anything is read or asked
    return endpoint


def _most_tokens(args: Namespace, member: Candidate) -> int:
    most = member.upstream.max_output_tokens if member.upstream else None
    return min(args.max_tokens, most or args.max_tokens)


def _pools(args: Namespace, checkpoint: Checkpoint) -> list[str] | None:
    """None, for the pools that it is in, of a model that is fitted anew; a new one is in its pool file alone."""
    known = any(args.model == system.model for system in checkpoint.added_models.systems)
    return None if args.replace and known else []


def _prepare(args: Namespace, checkpoint: Checkpoint, member: Candidate, texts: list[str]) -> _Fit:
    """The choice of questions; raises what would keep the model from being added, before it is asked."""
    from router.checkpoint.benchmark_scores import parse_scores
    from router.onboarding.add_model import default_protocol, prepared
    from router.onboarding.anchors import anchors_among
    from router.onboarding.prior import prior_for
    from router.pools.strict_yaml import read_values

    plain: Any = read_values(Path(args.pool))[0]
    protocol = args.protocol or plain.get("protocol") or default_protocol(checkpoint)
    prepared(checkpoint, member.facts, protocol, _pools(args, checkpoint), args.replace)
    benchmarks = parse_scores(args.scores or [])
    prior = prior_for(checkpoint, protocol, member.facts)  # without scores, which `onboard` reads, and warns of
    n = ANCHORS if args.anchors is None else args.anchors
    if n > len(texts):
        chosen_from = f" in {args.questions}" if args.questions else ""
        raise UsageError(f"--anchors {n} of {len(texts)} questions{chosen_from}: ask for {len(texts)} at most")
    anchors = anchors_among(checkpoint, protocol, prior, texts, n, args.seed, show_progress(args))
    return _Fit(checkpoint, member, protocol, benchmarks, prior, anchors)


def _ask(args: Namespace, fit: _Fit, interview: Interview) -> Graded | None:
    """The graded answers, None where only an estimate was wanted.

    Raises UsageError where there are too few: what was answered is kept in the cache.
    """
    import numpy as np

    from router.llm.session import run_session
    from router.llm.store import Store

    n, model = len(interview.anchors), args.model
    cache = cache_path(args, Path(f"{args.pool}.{quote(model, safe='')}"))
    kept: list[Answer | None] = [None] * n
    spent_usd = 0.0
    if cache.is_file():
        with Store(cache) as store:
            kept, spent_usd = interview.kept(store), store.spent_usd
    expected_usd = interview.expected_usd(np.exp(fit.prior.log_tokens + fit.anchors.log_length), kept)
    left = sum(answer is None for answer in kept)
    earlier = f"; {n - left} were answered before, {usd(spent_usd)} of the cap are spent" if cache.is_file() else ""
    logger.info(
        "asking %s %d questions at %s: about %s expected, never more than %s (--max-usd)%s",
        model, left, interview.endpoint.url, usd(expected_usd), usd(args.max_usd), earlier,
    )  # fmt: skip
    if args.estimate:
        return None
    check_cap(args, expected_usd)
    if spent_usd + expected_usd > args.max_usd:
        raise UsageError(
            f"{left} questions are expected to cost {usd(expected_usd)}, and {usd(args.max_usd - spent_usd)} are left "
            "under the cap: raise --max-usd or ask less with --anchors"
        )
    problems, capped = [], None
    try:
        problems = run_session(args, cache, n, interview.hold)
    except CapReachedError as error:
        capped = error
    with Store(cache) as store:
        graded = interview.graded(store)
    answered = n - graded.missing
    if answered < interview.enough:
        why = f"the last problem: {problems[-1]}. " if problems else ""
        raise UsageError(
            f"{model} answered {answered} of {n} questions, {interview.enough} are needed: nothing was written. "
            f"{capped or why + 'Run the same command again to ask the others; answers are kept'}"
        ) from capped
    if graded.missing:
        logger.warning("%d questions have no answer and do not count: %s", graded.missing, capped or problems[-1])
    if graded.cut:
        logger.warning(
            "%d of %d answers ended at %d tokens, wrong where the final answer is missing: --max-tokens allows more",
            graded.cut, answered, interview.most_tokens,
        )  # fmt: skip
    return graded


def _plain(each: ExpectedQuality) -> dict[str, Any]:
    return {
        "system": each.system.id,
        "quality": each.quality,
        "interval": each.interval and list(each.interval),
        "distance": each.distance,
    }


def _nearest_lines(checkpoint: Checkpoint, beside: Any) -> list[str]:
    """The new model and its nearest known ones as a table."""
    facts, rows = checkpoint.all_models, []
    for place, each in enumerate(beside):
        price = facts[each.system.model].output_usd_per_mtok if each.system.model in facts else None
        interval = "trained" if each.interval is None else f"{each.interval[0]:.2f} to {each.interval[1]:.2f}"
        differs = f"{each.distance:.3f}" if place else "new"
        shown = "?" if price is None else f"{price:g}"
        rows.append([each.system.model, f"{each.quality:.3f}", interval, shown, differs])
    head = ["beside its nearest", "quality", "80% interval", "out $/Mtok", "differs by"]
    note = "quality: predicted mean on these questions; differs by: rms over them, between predicted qualities"
    return [*table(head, rows, right=[1, 2, 3, 4]), note]
