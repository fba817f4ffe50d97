"""Stored predictions of a comparison, one .npz file per cell: written atomically, reused only under the same key.

Does not know how a prediction is made. Axes: B queries, M candidates.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.metrics import Array
from router.files import atomic_path

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Cell:
    """One entry of the comparison: a method, with a seed, on a pool under a part of a regime."""

    regime: str
    part: str
    pool: str
    method: str
    seed: int

    def file(self, out: Path) -> Path:
        """The file of its predictions."""
        return out / "predictions" / self.regime / self.part / self.pool / f"{self.method}-{self.seed}.npz"


@dataclass(frozen=True)
class CellPredictions:
    """Predicted quality and cost of the cell's test and validation rows."""

    test_rows: Index  # (B,) rows of the folder's queries
    quality: Array  # (B, M)
    cost_usd: Array  # (B, M)
    val_rows: Index
    val_quality: Array
    val_cost_usd: Array


def key_of(settings: Mapping[str, Any]) -> str:
    """A digest of everything that decides a prediction; arrays count by their content.

    >>> key_of({"seed": 0}) == key_of({"seed": 0}) != key_of({"seed": 1})
    True
    """
    plain = {
        k: hashlib.sha256(v.tobytes()).hexdigest() if isinstance(v, np.ndarray) else v for k, v in settings.items()
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def digest_of(*files: Path) -> str:
    """A digest of names and bytes of the files, and of all files below a folder; missing files count for nothing."""
    digest = hashlib.sha256()
    for file in files:
        for each in sorted(file.rglob("*")) if file.is_dir() else [file]:
            if each.is_file():
                digest.update(each.name.encode() + b"\0" + each.read_bytes())
    return digest.hexdigest()


def write_cell(file: Path, key: str, predictions: CellPredictions) -> None:
    """Save as a whole: a killed run leaves no half-written cell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as sibling, sibling.open("wb") as stream:
        np.savez(stream, key=np.array(key), **asdict(predictions))


def is_finished(file: Path, key: str) -> bool:
    """Whether `file` holds predictions made under `key`."""
    try:
        with file.open("rb") as stream, np.load(stream) as arrays:
            return str(arrays["key"]) == key
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def read_cell(file: Path) -> CellPredictions:
    """The predictions in a finished cell."""
    with np.load(file) as arrays:
        return CellPredictions(**{name: arrays[name] for name in CellPredictions.__dataclass_fields__})
