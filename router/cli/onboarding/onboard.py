"""Commands `router onboard` and `router forget`: a new model is added to a checkpoint or removed from it.

They write only one file of the checkpoint's folder, that of onboarded models. Heavy packages are imported inside.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from router.cli.arguments import Commands, add_changed, add_command, folds, number
from router.cli.loading import needing, print_json, show_progress
from router.cli.onboarding.changing import changing_checkpoint, print_onboarding, write_checkpoint
from router.errors import UsageError

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import Checkpoint
    from router.onboarding.add_model import Onboarding
    from router.onboarding.from_folder import FolderOnboarding
    from router.pools.models import ModelFacts

logger = logging.getLogger(__name__)


def add_onboard(commands: Commands) -> None:
    """Add `router onboard` to the parser."""
    examples = (
        "router onboard my-model --answers graded.jsonl --price-in 0.2 --price-out 0.8 --into my-router",
        "router onboard my-model --benchmarks gpqa_diamond=0.86 --price-in 0.2 --price-out 0.8 --into my-router",
    )
    text = "add a model from graded answers or benchmark scores"
    command = add_command(commands, "onboard", text, run_onboard, examples)
    add_changed(command, "--into")
    command.add_argument("model", nargs="?", metavar="MODEL", help="the new model's name")
    known = command.add_argument_group("what is known of it")
    known.add_argument(
        "--answers",
        metavar="FILE",
        help="graded answers, one JSON object a line: query, score (0 to 1) [, output_tokens]",
    )
    known.add_argument("--benchmarks", nargs="+", metavar="NAME=SCORE", help="published scores from 0 to 1")
    known.add_argument("--price-in", type=number(float, 0), metavar="USD_PER_MTOK", help="price of input")
    known.add_argument("--price-out", type=number(float, 0), metavar="USD_PER_MTOK", help="price of output")
    known.add_argument("--context", type=number(int, 1), metavar="TOKENS", help="context window")
    known.add_argument("--tools", action="store_true", help="it can call tools")
    known.add_argument("--images", action="store_true", help="it reads images")
    known.add_argument(
        "--protocol", metavar="NAME", help="the trained protocol that it is prompted like (default: the default pool's)"
    )
    folder = command.add_argument_group("or all new models of a data folder (docs/data.md)")
    folder.add_argument("--data", metavar="DIR", help="a folder with outcomes of models that training did not know")
    rows = folder.add_mutually_exclusive_group()
    rows.add_argument("--split", help="fit on the rows of this split, such as train")
    rows.add_argument("--folds", type=folds, metavar="0,1", help="fit on these folds")
    command.add_argument(
        "--pool",
        action="append",
        metavar="NAME",
        help="a pool that it joins, repeatable (default: the default pool); with --data the name of the new pool "
        "(default: the folder's)",
    )
    command.add_argument("--no-pool", action="store_true", help="join no pool: only make the profile")
    command.add_argument("--replace", action="store_true", help="fit a model anew that was onboarded before")


def run_onboard(args: Namespace) -> int:
    """Fit one model's profile, or those of a whole data folder, into a checkpoint."""
    _check_sources(args)
    with changing_checkpoint(args.checkpoint) as (folder, checkpoint):
        if args.data is not None:
            fitted = _onboard_folder(args, checkpoint)
            write_checkpoint(fitted.checkpoint, folder)
            _print_folder(args, fitted)
        else:
            found = _onboard_model(args, checkpoint)
            write_checkpoint(found.checkpoint, folder)
            print_onboarding(args, found)
    return 0


def add_forget(commands: Commands) -> None:
    """Add `router forget` to the parser."""
    examples = ["router forget my-model --from my-router"]
    command = add_command(commands, "forget", "take an onboarded model out again", run_forget, examples)
    add_changed(command, "--from")
    command.add_argument("model", metavar="MODEL", help="name, or model@protocol, of an onboarded model")


def run_forget(args: Namespace) -> int:
    """Remove an onboarded model from a checkpoint."""
    from router.onboarding.add_model import forget

    with changing_checkpoint(args.checkpoint) as (folder, checkpoint):
        left = forget(checkpoint, args.model)
        write_checkpoint(left, folder)
    others = [system.id for system in left.added_models.systems]
    if args.json:
        print_json({"removed": args.model, "onboarded": others})
    else:
        print(f"{args.model} is gone; {', '.join(others) or 'no onboarded model'} left in {folder}")
    return 0


def _onboard_model(args: Namespace, checkpoint: Checkpoint) -> Onboarding:
    from router.checkpoint.benchmark_scores import parse_scores
    from router.onboarding.add_model import onboard
    from router.onboarding.graded_answers import read_answers

    pools = [] if args.no_pool else args.pool
    known = any(args.model == system.model for system in checkpoint.added_models.systems)
    if pools is None and not (args.replace and known):  # fitted anew, it stays where it is
        pools = [checkpoint.default_pool]
    return onboard(
        checkpoint,
        _facts(args, checkpoint),
        read_answers(args.answers) if args.answers else None,
        benchmarks=parse_scores(args.benchmarks or []),
        protocol=args.protocol,
        pools=pools,
        replace_old=args.replace,
        progress=show_progress(args),
    )


def _check_sources(args: Namespace) -> None:
    """Raise UsageError for flags that do not say which model is fitted, and from which outcomes."""
    if args.data is not None:
        given = [flag for flag, value in (("MODEL", args.model), ("--answers", args.answers),
                 ("--benchmarks", args.benchmarks), ("--protocol", args.protocol), ("--tools", args.tools),
                 ("--images", args.images), ("--no-pool", args.no_pool), ("--price-in", args.price_in is not None),
                 ("--price-out", args.price_out is not None), ("--context", args.context)) if value]  # fmt: skip
        if given:
            raise UsageError(f"--data onboards every new model of a folder: leave {', '.join(given)} out")
        if (args.split is None) == (args.folds is None):
            raise UsageError("--data needs either --split or --folds: the rows whose outcomes are fitted")
        if args.pool and len(args.pool) > 1:
            raise UsageError("--data makes one pool: give --pool once")
        return
    if not args.model:
        swallowed = [pair for pair in args.benchmarks or [] if "=" not in pair]
        hint = f": {swallowed[0]!r} was read as a benchmark, write the model's name first" if swallowed else ""
        raise UsageError(f"name the new model, or give a whole data folder with --data DIR{hint}")
    if not args.answers and not args.benchmarks:
        raise UsageError("give --answers FILE, --benchmarks NAME=SCORE ..., or both")
    if args.pool and args.no_pool:
        raise UsageError("--pool and --no-pool contradict each other")
    if args.split or args.folds:
        raise UsageError("--split and --folds belong to --data")


def _facts(args: Namespace, checkpoint: Checkpoint) -> ModelFacts:
    """The facts given by flags; of a model that is fitted anew, the former facts where no flag is given."""
    from router.pools.models import ModelFacts

    if (args.price_in is None) != (args.price_out is None):
        raise UsageError("give both --price-in and --price-out, or neither")
    found = ModelFacts(args.model)
    if args.replace:
        old = (each.facts for each in checkpoint.added_models.profiles if each.system.model == args.model)
        found = next(old, found)
    given: dict[str, Any] = {"context_window": args.context, "tools": args.tools or None}
    given |= {"input_usd_per_mtok": args.price_in, "output_usd_per_mtok": args.price_out}
    given["modalities"] = ("text", "image") if args.images else None
    return replace(found, **{name: value for name, value in given.items() if value is not None})


def _onboard_folder(args: Namespace, checkpoint: Checkpoint) -> FolderOnboarding:
    with needing("evaluate", "router onboard --data"):
        from router.evaluation.dataset import data_folder, read_dataset
        from router.evaluation.pool_report import row_masks
        from router.onboarding.from_folder import onboard_folder
    folder = data_folder(args.data)
    dataset = read_dataset(folder)
    rows = row_masks(dataset, args.split, args.folds)[0]
    name = args.pool[0] if args.pool else folder.resolve().name
    return onboard_folder(checkpoint, dataset, rows, name, replace_old=args.replace, progress=show_progress(args))


def _print_folder(args: Namespace, fitted: FolderOnboarding) -> None:
    from router.cli.text import table

    if args.json:
        models = [
            {
                "system": each.system.id,
                "like": each.reference_protocol,
                "answers": each.answers,
                "mean_score": each.mean_score,
            }
            for each in fitted.profiles
        ]
        print_json({"pool": fitted.pool.name, "models": models, "unpriced": list(fitted.unpriced)})
        return
    rows = [
        [each.system.id, each.reference_protocol, str(each.answers), f"{each.mean_score:.3f}"]
        for each in fitted.profiles
    ]
    print("\n".join(table(["model", "like protocol", "answers", "score"], rows, right=[2, 3])))
    if fitted.unpriced:
        logger.warning("without a price and so in no pool: %s", ", ".join(fitted.unpriced))
    print(f"\npool {fitted.pool.name} has {len(fitted.pool.candidates)} models:")
    where = f"--checkpoint {args.checkpoint} --pool {fitted.pool.name}"
    print(f"  router route {where} QUERY\n  router evaluate {where} --data {args.data} --split test")
