"""Checkpoint, router and output of a command: found, loaded, printed.

Heavy packages are imported inside.
"""

from __future__ import annotations

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from router.checkpoint.default_checkpoint import default_checkpoint
from router.errors import UsageError
from router.installation import how_to_install
from router.policy.decision import SCHEMA_VERSION

if TYPE_CHECKING:
    from router.routing.router import Router

logger = logging.getLogger(__name__)


def find_checkpoint(given: str | None) -> str:
    """The given checkpoint, or the default one. Raises CheckpointError that says how to get one."""
    return given or default_checkpoint()


def load_router(args: Namespace) -> Router:
    """The router of the checkpoint, device and backend that `args` name."""
    checkpoint = find_checkpoint(args.checkpoint)
    from router.routing.router import Router

    device = _check_device(args.device)
    logger.debug("loading %s on %s", checkpoint, device)
    index = getattr(args, "index", "auto")
    return Router.from_pretrained(checkpoint, device=device, index=index, backend=args.backend)


def _check_device(name: str) -> str:
    """The device itself. Raises UsageError where torch cannot compute on it."""
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
def needing(extra: str, command: str) -> Iterator[None]:
    """A block of imports that an extra of this package installs. Raises UsageError where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("router"):
            raise
        raise UsageError(f"`{command}` needs {error.name}: {how_to_install(extra)} installs it") from error


def show_progress(args: Namespace) -> bool:
    """Whether a progress bar goes to stderr: only to a terminal, and not with --quiet."""
    return sys.stderr.isatty() and not args.quiet


def print_json(raw: dict[str, Any]) -> None:
    """Print one JSON object with its schema version."""
    print(json.dumps({"schema_version": SCHEMA_VERSION} | raw, allow_nan=False))
