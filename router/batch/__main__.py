"""Module `python -m router.batch`, on several GPUs `accelerate launch -m router.batch`: the same as `router batch`."""

import sys


def main() -> int:
    """Run `router batch` with the arguments of this process; its exit code."""
    from router.cli.main import main as run  # the one import that runs upward

    return run(["batch", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
