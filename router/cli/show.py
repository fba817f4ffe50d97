"""Commands about a checkpoint: `router pools`, `show`, `evaluate`, `index` and `checkpoint upgrade`.

Each prints its result on stdout and returns an exit code. Heavy packages are imported inside.
"""

from __future__ import annotations

import logging
import math
import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from router.cli.arguments import (
    Commands,
    add_command,
    add_common,
    add_index_kind,
    add_verbosity,
    folds,
    number,
)
from router.cli.loading import find_checkpoint, load_router, needing, print_json, show_progress
from router.cli.text import pool_lines, profile_lines, report_lines
from router.errors import CheckpointError, PoolError, known_names

if TYPE_CHECKING:
    from router.pools.models import System
    from router.pools.pool import Pool

logger = logging.getLogger(__name__)


def add_pools(commands: Commands) -> None:
    """Add `router pools` to the parser."""
    text = "list the checkpoint's pools and their models, or check a pool file"
    command = add_command(commands, "pools", text, run_pools, ["router pools", "router pools --check pool.yaml"])
    add_common(command)
    command.add_argument(
        "--check", metavar="FILE", help="print every problem of a pool file (YAML, JSON); exit code 1 if any"
    )


def run_pools(args: Namespace) -> int:
    """List the checkpoint's pools, or with --check print every problem of a pool file; 1 where it has any."""
    if args.check is not None:
        return _check_pool_file(args)
    router = load_router(args)
    if args.json:
        pools = [_pool_json(pool, pool.name == router.default_pool) for pool in router.pools.values()]
        print_json({"default_pool": router.default_pool, "pools": pools})
        return 0
    blocks = [pool_lines(pool, default=pool.name == router.default_pool) for pool in router.pools.values()]
    print("\n\n".join("\n".join(block) for block in blocks))
    return 0


def _pool_json(pool: Pool, default: bool) -> dict[str, Any]:
    models = [each.facts.to_json() | {"profile": each.system.id if each.system else None} for each in pool.candidates]
    return {"name": pool.name, "default": default, "models": models}


def _check_pool_file(args: Namespace) -> int:
    from router.pools.pool import check_pool
    from router.pools.price_file import price_table

    systems = _known_systems(args)
    problems = check_pool(args.check, systems, price_table())
    if args.json:
        print_json({"file": args.check, "profiles_checked": systems is not None, "problems": problems})
    elif problems:
        print("\n".join(f"{args.check}: {problem}" for problem in problems))
    else:
        print(f"{args.check}: no problems" + ("" if systems is not None else " in its structure"))
    return 1 if problems else 0


def _known_systems(args: Namespace) -> tuple[System, ...] | None:
    """The checkpoint's systems; None with a warning where there is no checkpoint."""
    try:
        find_checkpoint(args.checkpoint)
    except CheckpointError as error:
        logger.warning("only the structure is checked, not whether the models have profiles: %s", error)
        return None
    return load_router(args).systems


def add_show(commands: Commands) -> None:
    """Add `router show` to the parser."""
    examples = ["router show gpt-4o", "router show gpt-4o --top 10 --json"]
    command = add_command(commands, "show", "print a model's facts and its learned profile", run_show, examples)
    add_common(command)
    command.add_argument("model", metavar="MODEL", help="a model's name")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--pool", metavar="NAME|FILE", help="the pool whose facts and profile are meant")
    where.add_argument("--protocol", metavar="NAME", help="the protocol meant, where the name is known under several")
    command.add_argument("--top", type=number(int, 1), default=5, metavar="K", help="axes shown (default: 5)")


def run_show(args: Namespace) -> int:
    """Print a model's facts and its learned profile."""
    router = load_router(args)
    name, facts = args.model, None
    if args.pool is not None:
        pool = router.pool(args.pool)
        found = {candidate.id: candidate for candidate in pool.candidates}.get(args.model)
        if found is None:
            raise PoolError(f"no model {args.model!r} in pool {pool.name!r}; {known_names(args.model, pool.ids)}")
        if found.system is None:
            raise PoolError(f"model {args.model!r} of pool {pool.name!r} has no profile: it is judged by a prior")
        name, facts = found.system.id, found.facts
    elif args.protocol is not None:
        name = f"{args.model}@{args.protocol}"
    profile = router.profile(name)
    facts = facts or profile.facts
    if args.json:
        print_json(
            {
                "model": profile.system.model,
                "protocol": profile.system.protocol,
                "facts": facts.to_json(),
                "mean_score": profile.mean_score,
                "rests_on": profile.rests_on,
                "bias": profile.bias,
                "axes": profile.axes,
            }
        )
    else:
        print("\n".join(profile_lines(profile, facts, args.top)))
    return 0


def add_index(commands: Commands) -> None:
    """Add `router index` to the parser."""
    text = "build a large pool's index and keep it in the checkpoint's folder"
    command = add_command(commands, "index", text, run_index, ["router index --pool thousands.yaml --index ivf"])
    add_common(command)
    command.add_argument("--pool", metavar="NAME|FILE", help="the pool (default: the checkpoint's default)")
    add_index_kind(command)


def run_index(args: Namespace) -> int:
    """Build the index of a pool and write it into the checkpoint's folder."""
    router = load_router(args)
    pool = router.pool(args.pool)
    file = router.save_index(pool)
    if args.json:
        print_json({"pool": pool.name, "models": len(pool.candidates), "file": None if file is None else str(file)})
    elif file is None:
        print(f"pool {pool.name} of {len(pool.candidates):,} models needs no index: all of them are scored")
    else:
        print(f"index of pool {pool.name}, {len(pool.candidates):,} models: {file} ({file.stat().st_size:,} bytes)")
    return 0


def add_evaluate(commands: Commands) -> None:
    """Add `router evaluate` to the parser."""
    examples = ["router evaluate --data runs/own/data --folds 8,9"]
    command = add_command(commands, "evaluate", "judge the router on recorded outcomes", run_evaluate, examples)
    add_common(command)
    command.add_argument(
        "--data",
        metavar="DIR",
        help="a folder in RouteMix-open's format (default: ROUTEMIX_DIR, else data/routemix-open)",
    )
    command.add_argument("--pool", metavar="NAME|FILE", help="the pool to judge (default: the checkpoint's default)")
    rows = command.add_mutually_exclusive_group(required=True)
    rows.add_argument("--split", help="judge on the rows of this split: train, val, test or ood")
    rows.add_argument("--folds", type=folds, metavar="8,9", help="judge on these folds of every split")
    command.add_argument(
        "--batch-size", type=number(int, 1), default=32, metavar="N", help="queries at a time (default: 32)"
    )


def run_evaluate(args: Namespace) -> int:
    """Judge the router on a data folder and print the figures."""
    with needing("evaluate", "router evaluate"):
        from router.evaluation.dataset import data_folders
        from router.evaluation.pool_report import evaluate_router
    folder = os.pathsep.join(map(str, data_folders(args.data)))
    router = load_router(args)
    report = evaluate_router(
        router,
        folder,
        router.pool(args.pool),
        split=args.split,
        folds=args.folds,
        progress=show_progress(args),
        batch_size=args.batch_size,
    )
    infinite = (key for key, value in report.items() if isinstance(value, float) and not math.isfinite(value))
    figures = report | dict.fromkeys(infinite)  # JSON has neither NaN nor infinity
    rows = {"split": args.split} if args.split else {"folds": args.folds}
    about = {"data": folder, "pool": router.pool(args.pool).name, **rows}
    if args.json:
        print_json(about | figures)
    else:
        shown = about | ({"folds": ",".join(map(str, args.folds))} if args.folds else {})
        print("\n".join(report_lines(shown | figures)))
    return 0


def add_checkpoint(commands: Commands) -> None:
    """Add `router checkpoint upgrade` to the parser."""
    examples = ["router checkpoint upgrade my-router"]
    checkpoint = add_command(commands, "checkpoint", "convert a checkpoint of an earlier version", None, examples)
    add_verbosity(checkpoint)
    actions = checkpoint.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "convert a folder in place to the format that is read now"
    upgrade = add_command(actions, "upgrade", text, run_upgrade, examples)
    upgrade.add_argument("folder", metavar="DIR", help="the checkpoint's folder")
    add_verbosity(upgrade)


def run_upgrade(args: Namespace) -> int:
    """Convert a checkpoint folder, or say that it needs no conversion."""
    from router.checkpoint.layout import FORMAT_VERSION
    from router.checkpoint.upgrade import upgrade_checkpoint

    before = upgrade_checkpoint(args.folder)
    if before == FORMAT_VERSION:
        print(f"{args.folder} has format_version {before} already")
    else:
        print(f"{args.folder}: format_version {before} became {FORMAT_VERSION}; weights, pools and models as before")
    return 0
