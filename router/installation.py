"""Installation hints in error messages: the command to run, for a clone or for a wheel.

No package index has this project; every installation comes from a clone.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the clone, or where the wheel's packages lie
SHIPPED_CHECKPOINT = ROOT / "checkpoints" / "routemix"  # in a clone only


def in_clone() -> bool:
    """Whether this code is in a clone of the repository."""
    return (ROOT / "scripts" / "make_venv").is_file()


def how_to_install(extra: str) -> str:
    """The command that installs an extra, with the folder to run it in."""
    if in_clone():
        return f"pip install -e '.[{extra}]' in {ROOT}"
    return f"pip install '.[{extra}]' in a clone of the repository"


def how_to_get_checkpoint() -> str:
    """The ways to get a checkpoint, for the end of a message."""
    given = "give a router's folder or hub:owner/name with --checkpoint or ROUTER_CHECKPOINT"
    if in_clone():
        return f"{given}, or train one with `python -m train fit --config configs/demo.yaml`"
    return (
        f"{given}; a clone of the repository has one in checkpoints/routemix, and there "
        "`python scripts/checkpoint_wheel/make_wheel.py` makes a wheel of it, to be installed here"
    )
