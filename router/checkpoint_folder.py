"""A checkpoint's folder as files: their names, the seal on those that must not change, replacing one as a whole.

    config.json         format version, sizes, row order, and the sha256 of what must not change
    encoder/            a sentence-transformers folder
    heads.safetensors   heads and all profile numbers: the state of `RouterNetwork`, float32
    taxonomy.json       the named axes
    profiles.json       facts of the models, and the pools: prices may be edited
    dials.json          what each dial cost and gave on validation; older checkpoints have none
    benchmarks.json     what known models scored on benchmarks; older checkpoints have none
    onboarded.safetensors   models added after training, where there are any; no other file knows of them
    README.md           the card, with the front matter that the Hub reads

Knows nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router import hub
from router.errors import CheckpointError
from router.sentence_folder import TOKENIZER, WEIGHTS, read_json
from router.whole_folder import whole_folder

FORMAT_VERSION = 4
READABLE = (2, 3, 4)  # 1 had no centre and scale in the heads; 2 no prototypes, 3 no categories: one may do without
HOW_TO_GET_ONE = (
    "give the folder or hub id of a router with --checkpoint or ROUTER_CHECKPOINT, or train one with "
    "`python -m train fit --config configs/demo.yaml`"
)


@dataclass(frozen=True)
class Layout:
    """The names inside a checkpoint folder."""

    config: str = "config.json"
    encoder: str = "encoder"
    heads: str = "heads.safetensors"
    taxonomy: str = "taxonomy.json"
    profiles: str = "profiles.json"
    dials: str = "dials.json"
    benchmarks: str = "benchmarks.json"
    onboarded: str = "onboarded.safetensors"
    card: str = "README.md"

    @property
    def always_sealed(self) -> set[str]:
        """Files that every checkpoint has and nobody may change."""
        encoder = {f"{self.encoder}/{name}" for name in ("config.json", WEIGHTS, TOKENIZER)}
        return {self.heads, self.taxonomy} | encoder


LAYOUT = Layout()


def find_folder(path_or_hub_id: str | Path) -> Path:
    """The local folder of a path or hub id; CheckpointError says how to get a checkpoint."""
    name = str(path_or_hub_id)
    if Path(name).is_dir():
        return Path(name)
    if Path(name).exists():
        raise CheckpointError(f"{name} is a file, but a checkpoint is a folder: {HOW_TO_GET_ONE}")
    if not hub.is_hub_id(name):
        raise CheckpointError(f"there is no checkpoint folder {name!r}, nor is that a hub id: {HOW_TO_GET_ONE}")
    try:
        return hub.download(name)
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Otherwise {HOW_TO_GET_ONE}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The content of `config.json`, of the version that is read here."""
    file = folder / LAYOUT.config
    if not file.is_file():
        raise CheckpointError(f"{folder} is no router checkpoint: it has no {file.name}; {_listing(folder)}")
    config = read_json(file)
    if not isinstance(config, dict) or "format_version" not in config:
        raise CheckpointError(f"{folder} is no router checkpoint: its {file.name} has no format_version")
    version = config["format_version"]
    if version not in READABLE:
        known = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        raise CheckpointError(
            f"{folder} has format_version {version!r}; this installation reads {known}: install the version of "
            "inferencedynamics that wrote it, or train it again"
        )
    return config


def seal(folder: Path) -> dict[str, str]:
    """The sha256 of each file that must not change from now on, by its name inside the folder."""
    names = [name for name in list_files(folder) if name.startswith(f"{LAYOUT.encoder}/")]
    return {name: _sha256(folder / name) for name in sorted([LAYOUT.heads, LAYOUT.taxonomy, *names])}


def check_seal(folder: Path, sealed: object) -> None:
    """CheckpointError that names every missing or altered file and lists what was found."""
    if not isinstance(sealed, dict) or not set(sealed) >= LAYOUT.always_sealed:
        raise CheckpointError(
            f"{folder / LAYOUT.config} is broken: sha256 must name at least {sorted(LAYOUT.always_sealed)}"
        )
    problems = []
    for name in [*sealed, LAYOUT.profiles]:
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif name in sealed and (got := _sha256(file)) != sealed[name]:
            problems.append(
                f"{name} was altered or cut short ({file.stat().st_size:,} bytes; sha256 {got[:12]}…, written as "
                f"{str(sealed[name])[:12]}…)"
            )
    if problems:
        raise CheckpointError(f"{folder}: {'; '.join(problems)}. Get a fresh copy; {_listing(folder)}")


def list_files(folder: Path) -> list[str]:
    """Names of all files inside the folder, subfolders included."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` when the block ends without an error.

    A checkpoint or an empty folder is replaced as a whole; CheckpointError for anything else, which is left alone, and
    where the disk refuses.
    """
    _check_replaceable(target)
    try:
        with whole_folder(target) as partial:
            yield partial
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error


def _check_replaceable(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file: choose another place for the checkpoint folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        config = read_json(target / LAYOUT.config)
    except CheckpointError:
        config = None
    if not isinstance(config, dict) or "format_version" not in config:
        raise CheckpointError(
            f"refusing to replace {target}: it is not empty and is no router checkpoint; choose another folder or "
            f"empty it; {_listing(target)}"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _listing(folder: Path, limit: int = 20) -> str:
    names = list_files(folder)
    shown = ", ".join(f"{name} ({(folder / name).stat().st_size:,} bytes)" for name in names[:limit])
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return f"found: {shown or 'nothing'}{rest}"
