"""`router pools | show | evaluate | index`, and how every command finds and loads its checkpoint.

Each takes parsed arguments, prints its result on stdout and returns an exit code. Heavy packages are imported inside.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from router.checkpoint.default_checkpoint import default_checkpoint
from router.cli.text import pool_lines, profile_lines, report_lines
from router.errors import CheckpointError, PoolError, UsageError, known_names
from router.installation import how_to_install
from router.policy.decision import SCHEMA_VERSION

if TYPE_CHECKING:
    from router.pools.models import System
    from router.pools.pool import Pool
    from router.routing.router import Router

logger = logging.getLogger(__name__)


def find_checkpoint(given: str | None) -> str:
    """The checkpoint given, else the default one; CheckpointError says how to get one."""
    return given or default_checkpoint()


def load_router(args: Namespace) -> Router:
    """The router of the checkpoint that `args` name, on their device, with their backend."""
    checkpoint = find_checkpoint(args.checkpoint)
    from router.routing.router import Router

    device = _check_device(args.device)
    logger.debug("loading %s on %s", checkpoint, device)
    index = getattr(args, "index", "auto")
    return Router.from_pretrained(checkpoint, device=device, index=index, backend=args.backend)


def _check_device(name: str) -> str:
    """`name` where that can be computed on, UsageError where not."""
    if name == "cpu":
        return name
    try:
        import torch

        torch.empty(0, device=name)
    except (ImportError, RuntimeError, AssertionError, NotImplementedError) as error:  # of torch, for a missing device
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--device {name} cannot be used ({reason}); use cpu, or cuda on a machine with a GPU"
        ) from error
    return name


@contextmanager
def needing_evaluate(command: str) -> Iterator[None]:
    """Around imports that the extra `evaluate` installs: UsageError where it is not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("router"):
            raise
        raise UsageError(f"`{command}` needs {error.name}: {how_to_install('evaluate')} installs it") from error


def show_progress(args: Namespace) -> bool:
    """Whether a progress bar goes to stderr: only to a terminal, and not when told to be quiet."""
    return sys.stderr.isatty() and not args.quiet


def print_json(raw: dict[str, Any]) -> None:
    print(json.dumps({"schema_version": SCHEMA_VERSION} | raw, allow_nan=False))


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
    models = [
        candidate.facts.to_json() | {"profile": candidate.system.id if candidate.system else None}
        for candidate in pool.candidates
    ]
    return {"name": pool.name, "default": default, "models": models}


def _check_pool_file(args: Namespace) -> int:
    from router.pools.pool import check_pool

    systems = _known_systems(args)
    problems = check_pool(args.check, systems)
    if args.json:
        print_json({"file": args.check, "profiles_checked": systems is not None, "problems": problems})
    elif problems:
        print("\n".join(f"{args.check}: {problem}" for problem in problems))
    else:
        print(f"{args.check}: no problems" + ("" if systems is not None else " in its structure"))
    return 1 if problems else 0


def _known_systems(args: Namespace) -> tuple[System, ...] | None:
    """The checkpoint's systems; None, said on stderr, where no checkpoint was named and none is found."""
    try:
        find_checkpoint(args.checkpoint)
    except CheckpointError as error:
        logger.warning("only the structure is checked, not whether the models have profiles: %s", error)
        return None
    return load_router(args).systems


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


def run_evaluate(args: Namespace) -> int:
    """Judge the router on a data folder and print the figures."""
    with needing_evaluate("router evaluate"):
        from router.evaluation.dataset import data_folder
        from router.evaluation.pool_report import evaluate_router
    folder = data_folder(args.data)
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
    figures = {key: _finite(value) for key, value in report.items()}
    rows = {"split": args.split} if args.split else {"folds": args.folds}
    about = {"data": str(folder), "pool": router.pool(args.pool).name, **rows}
    if args.json:
        print_json(about | figures)
    else:
        shown = about | ({"folds": ",".join(map(str, args.folds))} if args.folds else {})
        print("\n".join(report_lines(shown | figures)))
    return 0


def _finite(value: Any) -> Any:
    """NaN and infinity as None, which JSON can say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
