"""Commands `router keys create`, `list` and `revoke`: API keys for clients of `router serve`."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from router.cli.arguments import Commands, add_command, add_verbosity, number
from router.cli.loading import print_json
from router.cli.text import table

if TYPE_CHECKING:
    from router.serving.client_keys import KeyRing

logger = logging.getLogger(__name__)


def add_keys(commands: Commands) -> None:
    """Add `router keys` with its three commands to the parser; they know no checkpoint."""
    examples = ["router keys create alice", "router keys list"]
    keys = add_command(commands, "keys", "make, list and revoke the keys of clients of `router serve`", None, examples)
    add_verbosity(keys)
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    examples = ["router keys create alice --requests-per-minute 60"]
    create = add_command(actions, "create", "make a key and print its secret, once", run_create, examples)
    create.add_argument("name", metavar="NAME", help="whose key it is")
    create.add_argument(
        "--requests-per-minute", type=number(int, 1), metavar="N", help="the most it may ask (default: any)"
    )
    shown = add_command(actions, "list", "list the keys, never their secrets", run_list, ["router keys list --json"])
    text, examples = "refuse a key from now on, also in servers that run", ["router keys revoke 3f9a2b1c"]
    revoke = add_command(actions, "revoke", text, run_revoke, examples)
    revoke.add_argument("id", metavar="ID", help="the key's id, as `router keys list` shows it")
    for action in (create, shown, revoke):
        action.add_argument(
            "--file",
            type=Path,
            metavar="FILE",
            help="where the keys are (default: ROUTER_KEYS, else inferencedynamics/keys.json in the user's settings)",
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")
        add_verbosity(action)


def run_create(args: Namespace) -> int:
    """Make a key and print its secret, which is shown only this once."""
    ring = _ring(args, make_folder=True)
    secret = ring.create(args.name, args.requests_per_minute)
    key = ring.check(secret)
    assert key is not None
    if args.json:
        print_json({"id": key.id, "name": key.name, "requests_per_minute": key.requests_per_minute, "secret": secret})
        return 0
    print(secret)
    logger.info("key %s (%s) is in %s; its secret, above, is kept nowhere: note it now", key.id, key.name, ring.file)
    return 0


def run_list(args: Namespace) -> int:
    """Print the keys, also revoked ones, never a secret."""
    ring = _ring(args)
    keys = ring.list()
    names = ("id", "name", "requests_per_minute", "created", "revoked")
    if args.json:
        print_json({"file": str(ring.file), "keys": [{name: getattr(key, name) for name in names} for key in keys]})
    elif not keys:
        logger.info("%s holds no keys; `router keys create NAME` makes one", ring.file)
    else:
        rows = [["-" if (value := getattr(key, name)) is None else str(value) for name in names] for key in keys]
        print("\n".join(table(["id", "name", "per minute", "created", "revoked"], rows, right=[2])))
    return 0


def run_revoke(args: Namespace) -> int:
    """Refuse a key from now on, also in servers that run."""
    key = _ring(args).revoke(args.id)
    if args.json:
        print_json({"id": key.id, "name": key.name, "revoked": key.revoked})
    else:
        print(f"key {key.id} ({key.name}) is revoked since {key.revoked}")
    return 0


def _ring(args: Namespace, make_folder: bool = False) -> KeyRing:
    from router.serving.client_keys import KeyRing, default_keys_file

    file = default_keys_file() if args.file is None else args.file
    if make_folder and args.file is None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return KeyRing(file)
