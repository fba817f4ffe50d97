"""`router serve POOL`: checks the whole configuration, then runs the gateway and decision service of a pool.

Arguments in, an exit code out; what is served is in `router.serving`, which is imported inside. Nothing phones home:
the variables that stop libraries from doing so are set before any of them is imported.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.cli.show import load_router
from router.errors import UsageError
from router.installation import how_to_install

logger = logging.getLogger(__name__)

QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled",
}
FLAGS = ("host", "port", "keys", "decision_log")


def run_serve(args: Namespace) -> int:
    """Serve until told to stop, or with --check only say whether that could be done."""
    os.environ.update(QUIET)
    try:
        from router.serving.http import server
        from router.serving.service import ConfigLoader, GatewayState
        from router.serving.telemetry import json_log
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("router"):
            raise
        raise UsageError(f"`router serve` needs {error.name}: {how_to_install('serve')} installs it") from error
    loader = ConfigLoader(
        Path(args.pool_file), lambda: load_router(args), {name: getattr(args, name) for name in FLAGS}
    )
    router, snapshot = loader.load()
    if args.check:
        what = "decides and forwards" if snapshot.forwards else "only decides: no model has an upstream"
        print(f"{args.pool_file}: no problems; {len(snapshot.pool.candidates)} models, {what}")
        return 0
    formatter = json_log.PlainFormatter() if args.plain_log else json_log.JsonFormatter()
    with _serving_log(formatter), server.listen(snapshot.settings) as listening:
        server.run_until_stopped(GatewayState(loader, router, snapshot), listening)
    return 0


@contextmanager
def _serving_log(formatter: logging.Formatter) -> Iterator[None]:
    """This project's log by `formatter`, and uvicorn's with it where that warns."""
    log, theirs = logging.getLogger("router"), logging.getLogger("uvicorn.error")
    for handler in log.handlers:
        handler.setFormatter(formatter)
    before = theirs.handlers, theirs.propagate, theirs.level
    theirs.handlers, theirs.propagate = list(log.handlers), False
    theirs.setLevel(logging.WARNING)
    try:
        yield
    finally:
        theirs.handlers, theirs.propagate = before[:2]
        theirs.setLevel(before[2])
