"""Command-line options of commands that ask LLMs: spending cap, cost estimate, cache of answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import UsageError

if TYPE_CHECKING:
    from router.llm.endpoint import Endpoint


def add_llm_options(parser: argparse.ArgumentParser) -> None:
    """Add the shared options to a parser."""
    add_spending_options(parser)
    parser.add_argument("--force", action="store_true", help="replace an output that an earlier run did not make")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no report")


def add_spending_options(
    parser: argparse._ActionsContainer, usual_usd: float | None = None, beside: str = "the output"
) -> None:
    """Add the options on what is spent; `usual_usd` is the default of the cap, `beside` says where the cache lies."""
    default = "Needed unless all prices are 0" if usual_usd is None else f"(default: {usual_usd:g})"
    parser.add_argument(
        "--max-usd", type=float, metavar="USD", default=usual_usd,
        help=f"spending cap: no request is sent that could exceed it; earlier runs with this cache count. {default}",
    )  # fmt: skip
    parser.add_argument("--estimate", action="store_true", help="say what it would cost, send nothing")
    parser.add_argument(
        "--cache", type=Path, metavar="FILE", help=f"where answers are kept (default: beside {beside}, .asked.sqlite)"
    )


def cache_path(options: argparse.Namespace, out: Path) -> Path:
    """The cache that is named, otherwise the one beside the output."""
    return Path(options.cache) if options.cache else out.with_name(out.name + ".asked.sqlite")


def check_output(options: argparse.Namespace, out: Path) -> None:
    """UsageError where `out` exists and no cache says that an earlier run of the command made it."""
    if out.exists() and not options.force and not cache_path(options, out).is_file():
        raise UsageError(f"--out {out} exists already; give --force to replace it, or name another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.absolute().parent}")


def check_cap(options: argparse.Namespace, usual_usd: float) -> None:
    """UsageError where money would be spent without a cap."""
    if options.max_usd is None and usual_usd > 0:
        raise UsageError(
            f"this costs about ${usual_usd:.2f}: give the most that may be spent, such as --max-usd "
            f"{max(0.01, round(2 * usual_usd, 2)):g}; --estimate prints the cost and sends nothing"
        )
    if options.max_usd is not None and not options.max_usd > 0:
        raise UsageError(f"--max-usd must be above 0, got {options.max_usd:g}")


def check_keys(endpoints: Iterable[Endpoint]) -> None:
    """UsageError where a variable or file holds no usable key."""
    for endpoint in endpoints:
        endpoint.key()
