"""`python -m router.batch`, or on several GPUs `accelerate launch -m router.batch`: the same as `router batch`."""

from __future__ import annotations

import sys

from router.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["batch", *sys.argv[1:]]))
