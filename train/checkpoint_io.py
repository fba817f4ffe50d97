"""Training checkpoints that survive SIGKILL: written under a temporary name, then renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from router.files import atomic_path


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own format and reader; a killed write leaves the previous file whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        with atomic_path(Path(path)) as sibling:
            super().save_checkpoint(checkpoint, sibling, storage_options)
