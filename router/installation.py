"""What is installed here, a clone or a wheel, and so which commands work: for messages that say what to do next.

No index has this project's packages: whatever is installed comes from a clone.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the clone, or where the wheel's packages lie
SHIPPED_CHECKPOINT = ROOT / "checkpoints" / "routemix"  # in a clone only


def in_clone() -> bool:
    """Whether this code lies in a clone of the repository."""
    return (ROOT / "scripts" / "make_venv").is_file()


def how_to_install(extra: str) -> str:
    """The command that installs an extra, and where."""
    if in_clone():
        return f"pip install -e '.[{extra}]' in {ROOT}"
    return f"pip install '.[{extra}]' in a clone of the repository"


def how_to_get_checkpoint() -> str:
    """How to come by a router, for the end of a message."""
    given = "give a router's folder or hub:owner/name with --checkpoint or ROUTER_CHECKPOINT"
    if in_clone():
        return f"{given}, or train one with `python -m train fit --config configs/demo.yaml`"
    return (
        f"{given}; a clone of the repository has one in checkpoints/routemix, and there "
        "`python scripts/checkpoint_wheel/make_wheel.py` makes a wheel of it, to be installed here"
    )
