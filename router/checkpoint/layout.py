"""Files of a checkpoint folder: names, format version, checksums, and replacement of a folder as a whole.

    config.json         format version, sizes, row order, and the sha256 of files that must not change
    encoder/            a sentence-transformers folder, with the encoder's graphs for onnxruntime; where its weights are
                        packed (model-packed.safetensors), sentence-transformers reads it only after
                        `QueryEncoder.from_pretrained(folder).save_pretrained(out)`
    heads.safetensors   heads and all profile numbers: the state of `RouterNetwork`, float32
    heads.onnx          the graph of the heads, whose weights lie in heads.safetensors
    taxonomy.json       the named axes
    profiles.json       facts of the models, and the pools; people may edit prices
    dials.json          cost and quality of each dial on validation; older checkpoints have none
    benchmarks.json     scores of known models on benchmarks; older checkpoints have none
    onboarded.safetensors   models added after training, if any; no other file refers to them
    index/              indexes of large pools, made by `router index`; optional
    README.md           the card, with the front matter that the Hub reads

The content of the files is defined elsewhere.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router import hub
from router.encoding.sentence_folder import TOKENIZER, WEIGHTS
from router.errors import CheckpointError
from router.files import atomic_folder, atomic_write, read_json
from router.installation import how_to_get_checkpoint, how_to_install
from router.onnx.packed_weights import PACKED_WEIGHTS

FORMAT_VERSION = 6
UPGRADABLE = (2, 3, 4, 5)  # see `router.checkpoint.upgrade`


@dataclass(frozen=True)
class Layout:
    """Names of files and folders inside a checkpoint folder."""

    config: str = "config.json"
    encoder: str = "encoder"
    heads: str = "heads.safetensors"
    heads_graph: str = "heads.onnx"
    taxonomy: str = "taxonomy.json"
    profiles: str = "profiles.json"
    dials: str = "dials.json"
    benchmarks: str = "benchmarks.json"
    added_models: str = "onboarded.safetensors"
    index: str = "index"
    card: str = "README.md"

    @property
    def always_verified(self) -> set[str]:
        """Files that every checkpoint has and that must not change; PACKED_WEIGHTS may stand for WEIGHTS."""
        encoder = {f"{self.encoder}/{name}" for name in ("config.json", WEIGHTS, TOKENIZER)}
        return {self.heads, self.heads_graph, self.taxonomy} | encoder


LAYOUT = Layout()


def find_folder(path_or_hub_id: str | Path, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The local folder of a path or of `hub:owner/name@revision`; CheckpointError says how to get a checkpoint."""
    name = str(path_or_hub_id)
    hub_id = hub.read_hub_id(name, revision)
    if hub_id is not None:
        try:
            return hub.download(hub_id, local_files_only)
        except CheckpointError as error:
            raise CheckpointError(f"{error}. Otherwise {how_to_get_checkpoint()}") from error
    if Path(name).is_dir():
        return Path(name)
    if Path(name).exists():
        raise CheckpointError(f"{name} is a file, but a checkpoint is a folder: {how_to_get_checkpoint()}")
    raise CheckpointError(f"there is no checkpoint folder {name!r}{hub.spelling_hint(name)}: {how_to_get_checkpoint()}")


def read_config(folder: Path, versions: Collection[int] = (FORMAT_VERSION,)) -> dict[str, Any]:
    """The content of `config.json`; CheckpointError for a missing file or a version that is not in `versions`."""
    file = folder / LAYOUT.config
    if not file.is_file():
        raise CheckpointError(f"{folder} is no router checkpoint: it has no {file.name}; {_listing(folder)}")
    config = read_json(file)
    if not isinstance(config, dict) or "format_version" not in config:
        raise CheckpointError(f"{folder} is no router checkpoint: its {file.name} has no format_version")
    version = config["format_version"]
    if version in versions:
        return config
    if version in UPGRADABLE:
        raise CheckpointError(
            f"{folder} has format_version {version}, of an earlier version of inferencedynamics: `router checkpoint "
            f"upgrade {folder}` converts it, with torch ({how_to_install('torch')})"
        )
    raise CheckpointError(
        f"{folder} has format_version {version!r}; this installation reads {FORMAT_VERSION}: install the version of "
        "inferencedynamics that wrote it, or train it again"
    )


def checksums(folder: Path) -> dict[str, str]:
    """The sha256 of each file that must not change, by the name inside the folder."""
    names = [name for name in list_files(folder) if name.startswith(f"{LAYOUT.encoder}/")]
    always = [LAYOUT.heads, LAYOUT.heads_graph, LAYOUT.taxonomy]
    return {name: _sha256(folder / name) for name in sorted([*always, *names])}


def profiles_checksum(folder: Path) -> str:
    """The sha256 of the profiles, which may be edited: another one than the recorded means that they were."""
    return _sha256(folder / LAYOUT.profiles)


def verify(folder: Path, recorded: object, version: int = FORMAT_VERSION) -> None:
    """Compare the files with the recorded checksums; CheckpointError names every missing or altered file."""
    least = LAYOUT.always_verified - ({LAYOUT.heads_graph} if version in UPGRADABLE else set())
    plain, packed = (f"{LAYOUT.encoder}/{name}" for name in (WEIGHTS, PACKED_WEIGHTS))
    if not isinstance(recorded, dict) or not set(recorded) | ({plain} if packed in recorded else set()) >= least:
        raise CheckpointError(f"{folder / LAYOUT.config} is broken: sha256 must name at least {sorted(least)}")
    problems = []
    needed = [name for name in recorded if not name.startswith(f"{LAYOUT.index}/")]
    for name in [*needed, LAYOUT.profiles]:
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif name in recorded and (got := _sha256(file)) != recorded[name]:
            problems.append(
                f"{name} was altered or cut short ({file.stat().st_size:,} bytes; sha256 {got[:12]}…, written as "
                f"{str(recorded[name])[:12]}…)"
            )
    if problems:
        raise CheckpointError(f"{folder}: {'; '.join(problems)}. Get a fresh copy; {_listing(folder)}")


def recorded_checksum(folder: Path, file: Path) -> str | None:
    """The sha256 that `config.json` has for a file inside the folder; None if it has none."""
    found = read_config(folder)["sha256"].get(file.relative_to(folder).as_posix())
    return None if found is None else str(found)


def add_checksum(folder: Path, file: Path) -> None:
    """Record the sha256 of a further file inside the folder in `config.json`. Raises CheckpointError."""
    config = read_config(folder)
    config["sha256"][file.relative_to(folder).as_posix()] = _sha256(file)
    try:
        atomic_write(folder / LAYOUT.config, config_text(config).encode())
    except OSError as error:
        raise CheckpointError(f"cannot write {folder / LAYOUT.config}: {error}") from error


def config_text(config: Mapping[str, Any]) -> str:
    """The text of `config.json`. Raises TypeError or ValueError for a value that plain JSON cannot hold."""
    return json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def list_files(folder: Path) -> list[str]:
    """Names of all files inside the folder, subfolders included."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` when the block ends without an error.

    A checkpoint or an empty folder is replaced as a whole. Raises CheckpointError for any other `target`, which stays,
    and for an error of the disk.
    """
    _check_replaceable(target)
    try:
        with atomic_folder(target) as partial:
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
    """The files in the folder and in its encoder's, not deeper: the folder may be any, such as /tmp."""
    patterns = ("*", f"{LAYOUT.encoder}/*", f"{LAYOUT.encoder}/*/*")
    files = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    shown = ", ".join(f"{name} ({(folder / name).stat().st_size:,} bytes)" for name in names[:limit])
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return f"found: {shown or 'nothing'}{rest}"
