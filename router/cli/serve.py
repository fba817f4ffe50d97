"""Command `router serve POOL`: check the whole configuration, then run the gateway and decision service of a pool.

`router.serving` is imported inside, after the variables are set that stop libraries from phoning home.
"""

import logging
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.cli.arguments import Commands, add_command, add_common, add_index_kind, number
from router.cli.loading import load_router, needing

logger = logging.getLogger(__name__)

QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_MODE": "disabled",
}
FLAGS = ("host", "port", "keys", "decision_log")


def add_serve(commands: Commands) -> None:
    """Add `router serve` to the parser."""
    examples = ["router serve pool.yaml --check", "router serve pool.yaml --port 8080"]
    text = "route and forward requests over HTTP, as OpenAI's API"
    command = add_command(commands, "serve", text, run_serve, examples)
    add_common(command)
    add = command.add_argument
    add("pool_file", metavar="POOL", help="a pool file (YAML, JSON), its settings in the section serve")
    add("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1); elsewhere needs keys")
    add("--port", type=number(int, 0, 65535), metavar="N", help="(default: 8080; 0: any free one)")
    add("--keys", metavar="FILE", help="client keys, made by `router keys create`")
    add("--decision-log", metavar="FILE", help="keep decisions and outcomes in this SQLite file")
    add("--check", action="store_true", help="only print every problem of the configuration")
    add("--plain-log", action="store_true", help="log lines for people, not JSON")
    add_index_kind(command)


def run_serve(args: Namespace) -> int:
    """Serve until a signal stops it; with --check only print the problems of the configuration."""
    os.environ.update(QUIET)
    with needing("serve", "router serve"):
        from router.serving.http import server
        from router.serving.service import ConfigLoader, GatewayState
        from router.serving.telemetry import json_log
    flags = {name: getattr(args, name) for name in FLAGS}
    loader = ConfigLoader(Path(args.pool_file), lambda: load_router(args), flags)
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
    """A block whose log lines are written by `formatter`, uvicorn's warnings included."""
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
