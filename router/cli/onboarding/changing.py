"""What the commands that change a checkpoint's added models share: the locked folder, the file, the report.

Heavy packages are imported inside.
"""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.cli.loading import print_json
from router.errors import CheckpointError
from router.files import locked_folder

if TYPE_CHECKING:
    from router.checkpoint.checkpoint import Checkpoint
    from router.onboarding.add_model import Onboarding

logger = logging.getLogger(__name__)


@contextmanager
def changing_checkpoint(given: str) -> Iterator[tuple[Path, Checkpoint]]:
    """The folder to change and the checkpoint in it; no other `router` command changes it meanwhile."""
    from router.checkpoint.storage import load_checkpoint

    folder = Path(given)
    if not folder.is_dir():
        raise CheckpointError(
            f"{given} is no folder on this machine: only a local checkpoint can be changed; copy it here"
        )
    with ExitStack() as held:
        try:
            held.enter_context(locked_folder(folder, wait=False))
        except BlockingIOError as error:
            raise CheckpointError(f"another command is changing {folder}: wait until it is done, then again") from error
        yield folder, load_checkpoint(folder, backend="auto")


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the added models, the only file of the folder that changes."""
    from router.checkpoint.added_models import write_added_models
    from router.checkpoint.layout import LAYOUT

    write_added_models(checkpoint.added_models, folder / LAYOUT.added_models)


def print_onboarding(args: Namespace, found: Onboarding) -> None:
    """Print what was fitted, as one JSON object or as lines."""
    if args.json:
        print_json(onboarding_json(found))
        return
    print("\n".join(onboarding_lines(found)))
    print(f"pools      {', '.join(found.profile.pools) or 'none: name it in a pool file'}")
    warn_of_dials(found)


def warn_of_dials(found: Onboarding) -> None:
    """Log the pools whose measured dials do not know the new model."""
    outdated = [name for name in found.profile.pools if name in found.checkpoint.dial_tables]
    if outdated:
        logger.warning(
            "what each dial costs was measured on %s without %s: budgets are met for lists of queries, not for one",
            ", ".join(outdated),
            found.profile.system.model,
        )


def onboarding_json(found: Onboarding) -> dict[str, Any]:
    """A new profile and its error as plain values."""
    profile = found.profile
    return {
        "system": profile.system.id,
        "answers": profile.answers,
        "mean_score": profile.mean_score,
        "pools": list(profile.pools),
        "known_systems": found.known,
        "side": list(found.side),
        "prior_error": found.prior_error,
        "blind_error": found.blind_error,
        "deviation": None if math.isnan(found.deviation) else found.deviation,
    }


def onboarding_lines(found: Onboarding) -> list[str]:
    """A new profile and its error in words."""
    profile = found.profile
    side = f" and {', '.join(found.side)}" if found.side else ""
    lines = [
        f"model      {profile.system.model}, as under protocol {profile.reference_protocol}",
        f"fitted     from {profile.answers} graded answers, {found.known} known systems{side}",
        f"score      {profile.mean_score:.3f}  {profile.rests_on}",
    ]
    if not math.isnan(found.deviation):
        lines.append(f"unsure by  {found.deviation:.3f}  standard deviation of its quality, mean over these queries")
    lines.append(
        f"prior      rms error {found.prior_error:.3f} of the mean score when each known system is judged by it alone"
        f" ({found.blind_error:.3f} by the mean system)"
    )
    return lines
