"""Console script `lightning`: our trainer for its subcommands, another distribution's `lightning` for all others.

Lightning 2.6 has no such command. litserve and lightning-sdk each install one, and the last installed distribution gets
the file name, so this module finds theirs through metadata. It imports Lightning and the others only to run them.
"""

import re
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from router.installation import how_to_install

SUBCOMMANDS = ("fit", "validate", "test", "predict")
OURS = "inferencedynamics"
HELP = f"""usage: lightning {{{",".join(SUBCOMMANDS)}}} ...

  lightning fit --config configs/routemix.yaml    train a router (also spelled: python -m train fit ...)
  lightning fit --help                            every option

Any other subcommand goes to the `lightning` of another installed distribution; here: """


def main(args: list[str] | None = None) -> int:
    """Exit code of the subcommand, ours or another distribution's; 2 for an unknown subcommand."""
    args = sys.argv[1:] if args is None else args
    others = other_commands()
    owners = ", ".join(_owner(other) for other in others) or "none"
    if not args or args[0] in ("-h", "--help"):
        print(HELP + owners, file=sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in SUBCOMMANDS:
        return _train(args)
    if others:
        return _hand_over(others[0], args)
    known = ", ".join(SUBCOMMANDS)
    print(
        f"lightning: error: unknown subcommand {args[0]!r}; known: {known}, and those of lightning-sdk or litserve "
        "once one of them is installed",
        file=sys.stderr,
    )
    return 2


def other_commands() -> list[EntryPoint]:
    """Console scripts called `lightning` of other distributions, sorted by distribution name.

    This order puts lightning-sdk before litserve, whose command only installs and calls that of lightning-sdk.
    """
    found = entry_points(group="console_scripts", name="lightning")
    others = {owner: entry for entry in found if (owner := _owner(entry)) != OURS}
    return [others[owner] for owner in sorted(others)]


def _owner(entry: EntryPoint) -> str:
    name = entry.dist.name if entry.dist else ""
    return re.sub(r"[-_.]+", "-", name).lower()


def _train(args: list[str]) -> int:
    try:
        command = import_module("train.cli")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("router", "train"):
            raise
        print(
            f"lightning: error: {error.name} is not installed; training needs: {how_to_install('train')}",
            file=sys.stderr,
        )
        return 1
    return int(command.main(args))


def _hand_over(entry: EntryPoint, args: list[str]) -> int:
    """Exit code of another distribution's command, called with these arguments in `sys.argv`."""
    sys.argv = ["lightning", *args]
    result = entry.load()()
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
