"""Reader of the transaction log of a Weights & Biases run on disk, `run-ID.wandb`.

Only this file has the configuration and metrics of an offline run. It is LevelDB's log format after a header of seven
bytes: blocks of 32 KiB with pieces of entries, each with a checksum; an entry is a `Record` of wandb's protocol
buffers. wandb 0.30 and 0.31 have no Python reader of it, and the summary of `wandb leet inspect` (0.31) leaves out the
group. `train.runs.store` makes runs of the records.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from router.errors import DataError, UsageError
from router.installation import how_to_install

MAGIC = b":W&B\xe1\xbe\x00"
BLOCK = 32 * 1024
PIECE = struct.Struct("<IHB")  # checksum, length, kind
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """wandb's `Record` messages in the order written; after a kill, those before the torn end of the file.

    Raises UsageError without wandb, DataError for a file of another format.
    """
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reading {path} needs wandb: {how_to_install('train')}, or name a folder of exported runs"
        ) from error
    data = path.read_bytes()
    if data and not data.startswith(MAGIC):
        raise DataError(
            f"{path}: not a W&B transaction log of a known version: it starts with {data[:7]!r}, not {MAGIC!r}"
        )
    for entry in entries(data):
        yield Record.FromString(entry)


def entries(data: bytes) -> Iterator[bytes]:
    """The whole entries of a log; it ends at the first piece with a wrong checksum or without its end."""
    offset, pieces = len(MAGIC), b""
    while True:
        left = BLOCK - offset % BLOCK
        if left < PIECE.size:  # too little for a piece: padding
            offset += left
            continue
        start = offset + PIECE.size
        if start > len(data):
            return
        checksum, length, kind = PIECE.unpack_from(data, offset)
        if start + length > len(data) or zlib.crc32(data[start - 1 : start + length]) != checksum:
            return
        pieces = data[start : start + length] if kind in (WHOLE, FIRST) else pieces + data[start : start + length]
        if kind in (WHOLE, LAST):
            yield pieces
        offset = start + length


def apply_update(values: dict[str, Any], update: Any) -> None:
    """Apply a config or summary record to `values`, a nested mapping: set its items, delete those it removes."""
    for item in update.update:
        *outer, last = list(item.nested_key) or [item.key]
        inner = values
        for key in outer:
            deeper = inner.get(key)
            inner[key] = inner = deeper if isinstance(deeper, dict) else {}
        inner[last] = json.loads(item.value_json)
    for item in update.remove:
        *outer, last = list(item.nested_key) or [item.key]
        at: Any = values
        for key in outer:
            at = at.get(key) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at.pop(last, None)
