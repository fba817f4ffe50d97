"""Wheel of a checkpoint, inferencedynamics-checkpoint: `python scripts/checkpoint_wheel/make_wheel.py`.

With it installed next to the code's wheel, `Router.from_pretrained()` and `router` find the checkpoint. Needs the
packages build and setuptools, of the extra dev. Leaves out the indexes of large pools, which fit one machine's pools.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from router.checkpoint.layout import read_config, verify
from router.errors import CheckpointError
from router.installation import ROOT, SHIPPED_CHECKPOINT, how_to_install

HERE = Path(__file__).resolve().parent
PACKAGE = "inferencedynamics_checkpoint"
MOST_BYTES = 60_000_000


def make_wheel(checkpoint: Path, out: Path, isolated: bool) -> Path:
    """The wheel of a verified checkpoint, in the folder `out`.

    CheckpointError for a broken checkpoint; SystemExit where the wheel cannot be built or exceeds MOST_BYTES.
    """
    verify(checkpoint, read_config(checkpoint).get("sha256"))
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(HERE, tree, ignore=shutil.ignore_patterns("make_wheel.py", "__pycache__"))
        for name in ("LICENSE", "NOTICE"):
            shutil.copy(ROOT / name, tree)
        shutil.copytree(checkpoint, tree / PACKAGE / "checkpoint", ignore=shutil.ignore_patterns("index", ".*"))
        made = Path(scratch) / "dist"
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(made), str(tree)]
        done = subprocess.run(command + ([] if isolated else ["--no-isolation"]), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the wheel could not be built:\n{done.stdout}{done.stderr}")
        (wheel,) = made.glob("*.whl")
        if (size := wheel.stat().st_size) > MOST_BYTES:
            raise SystemExit(f"the wheel has {size:,} bytes, more than {MOST_BYTES:,}: take a smaller checkpoint")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, out))


def main() -> None:
    """Build the wheel and print its path."""
    parser = argparse.ArgumentParser(description="Make a wheel of a checkpoint, found by Router.from_pretrained().")
    parser.add_argument("checkpoint", nargs="?", type=Path, default=SHIPPED_CHECKPOINT, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of the wheel (default: dist)")
    parser.add_argument("--isolated", action="store_true", help="let pip fetch setuptools for the build")
    options = parser.parse_args()
    if find_spec("build") is None:
        raise SystemExit(f"making a wheel needs the package build: {how_to_install('dev')}")
    try:
        wheel = make_wheel(options.checkpoint, options.out, options.isolated)
    except CheckpointError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{wheel} ({wheel.stat().st_size:,} bytes); install it with: pip install {wheel}")


if __name__ == "__main__":
    main()
