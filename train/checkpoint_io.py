"""Training checkpoints that survive SIGKILL: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own format and reader; a killed write leaves the previous file whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        temporary = Path(f"{path}.partial")
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)
