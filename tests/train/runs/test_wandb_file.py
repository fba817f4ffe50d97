"""The transaction log of W&B, byte by byte: blocks, pieces, checksums, torn ends, updates of nested values."""

import struct
import zlib
from types import SimpleNamespace

import pytest

from router.errors import DataError
from train.runs.wandb_file import BLOCK, FIRST, LAST, MAGIC, MIDDLE, WHOLE, apply_update, entries, records


def piece(kind, content):
    return struct.pack("<IHB", zlib.crc32(bytes([kind]) + content), len(content), kind) + content


def update(changed, removed=()):
    items = [SimpleNamespace(key=k, nested_key=n, value_json=v) for k, n, v in changed]
    return SimpleNamespace(update=items, remove=[SimpleNamespace(key=k, nested_key=n) for k, n in removed])


def test_entries_come_whole_from_one_piece_or_several():
    data = (
        MAGIC + piece(WHOLE, b"one") + piece(FIRST, b"t") + piece(MIDDLE, b"w") + piece(LAST, b"o") + piece(WHOLE, b"")
    )
    assert list(entries(data)) == [b"one", b"two", b""]


@pytest.mark.parametrize("left", [0, 1, 6])
def test_the_end_of_a_block_that_is_too_small_for_a_piece_is_padding(left):
    filling = b"x" * (BLOCK - len(MAGIC) - 7 - left)
    data = MAGIC + piece(WHOLE, filling) + bytes(left) + piece(WHOLE, b"next")
    assert [len(entry) for entry in entries(data)] == [len(filling), 4]


def test_a_torn_or_altered_end_ends_the_log_without_losing_what_came_before():
    data = MAGIC + piece(WHOLE, b"kept") + piece(WHOLE, b"lost")
    for end in range(1, 11):
        assert list(entries(data[:-end])) == [b"kept"]
    assert list(entries(data[:-1] + b"T")) == [b"kept"]
    assert list(entries(MAGIC + piece(FIRST, b"no end"))) == []


def test_a_file_that_is_no_such_log_is_refused_by_name(tmp_path):
    file = tmp_path / "run-a.wandb"
    file.write_bytes(b"SQLite format 3")
    with pytest.raises(DataError, match=r"run-a\.wandb: not a W&B transaction log .* b'SQLite '"):
        list(records(file))
    file.write_bytes(b"")  # killed before the header
    assert list(records(file)) == []


def test_updates_reach_into_nested_values_replace_them_and_take_them_out():
    values = {}
    apply_update(values, update([("a", [], "1"), ("model", [], '{"lr": 0.1, "size": 3}'), ("", ["x", "y"], '"z"')]))
    apply_update(values, update([("", ["model", "lr"], "0.2")], [("a", []), ("", ["x", "y"]), ("", ["no", "such"])]))
    assert values == {"model": {"lr": 0.2, "size": 3}, "x": {}}
