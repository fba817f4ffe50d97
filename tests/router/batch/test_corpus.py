"""A corpus in parts: whose they are, how they are read, and a folder in which each is whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.batch import corpus
from router.batch.corpus import REQUEST, PartsFolder, Share, read_parts
from router.errors import QueryError, UsageError
from router.routing.request import check_query

RECORD = {"schema_version": 1, "line": 1, "id": 7, "model": "a", "quality": 0.5, "domains": {"Law": 0.75}}
ERROR = {"schema_version": 1, "line": 2, "error": {"type": "QueryError", "message": "the query is empty"}}


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART_LINES", 2)


def every(part: int) -> bool:
    return True


# Whose parts they are


def test_each_part_is_exactly_one_processs() -> None:
    shares = [Share(process, 3) for process in range(3)]
    assert [[share.process for share in shares if share.has(part)] for part in range(6)] == [[0], [1], [2]] * 2


def test_alone_all_parts_are_ours_and_a_launcher_says_which_are() -> None:
    assert Share.of_environment({}) == Share(0, 1)
    assert Share.of_environment({"RANK": "2", "WORLD_SIZE": "4"}) == Share(2, 4)


@pytest.mark.parametrize(("rank", "size"), [("4", "4"), ("-1", "2"), ("one", "2"), ("0", "0")])
def test_a_senseless_rank_is_refused(rank: str, size: str) -> None:
    with pytest.raises(UsageError, match=f"RANK must be a whole number .*got '{rank}' of '{size}'"):
        Share.of_environment({"RANK": rank, "WORLD_SIZE": size})


# Reading


def test_lines_keep_their_numbers_and_unwanted_parts_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\nb\nc\nd\ne\n")
    parts = list(read_parts(tmp_path / "in.txt", "txt", lambda part: part != 1))
    assert [(part, [(line.number, line.query) for line in lines]) for part, lines in parts] == [
        (0, [(1, "a"), (2, "b")]),
        (2, [(5, "e")]),
    ]


def test_parquet_reads_as_json_lines_do(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"text": ["a", None, "c"], "id": ["x", "y", "z"], "dial": [None, 3.0, 11.0], "more": [1, 2, 3]}
    )
    table.to_parquet(tmp_path / "in.parquet")
    lines = [line for _, part in read_parts(tmp_path / "in.parquet", "parquet", every) for line in part]
    assert [(line.number, line.id, line.query, line.dial) for line in lines] == [
        (1, "x", "a", None),
        (2, "y", "", None),
        (3, "z", "", None),
    ]
    assert [str(line.error)[:30] if line.error else None for line in lines] == [
        None,
        "the object has no key 'query' ",
        "dial must be a number from 0 t",
    ]


def test_parquet_without_queries_names_its_columns(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["a"]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(UsageError, match=r"no column query \(or text\); its columns: prompt"):
        list(read_parts(tmp_path / "in.parquet", "parquet", every))
    (tmp_path / "in.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match="is no Parquet file"):
        list(read_parts(tmp_path / "in.parquet", "parquet", every))


def test_parquet_that_is_not_utf8_is_an_error_of_its_own_lines_only(tmp_path: Path) -> None:
    def column(*values: bytes) -> pa.Array:
        return pa.array(values, pa.binary()).view(pa.string())  # as other writers do, unchecked

    surrogate = "\ud800".encode("utf-8", "surrogatepass")
    table = pa.table({"query": column(b"a", b"b \xff", b"c"), "id": column(b"x", b"y", surrogate)})
    pq.write_table(table, tmp_path / "in.parquet")
    lines = [line for _, part in read_parts(tmp_path / "in.parquet", "parquet", every) for line in part]
    assert [(line.number, line.id) for line in lines] == [(1, "x"), (2, "y"), (3, None)]
    assert lines[0].query == "a" and lines[0].error is None
    with pytest.raises(QueryError, match="not valid Unicode"):
        check_query(lines[1].query)
    assert "id is not valid Unicode" in str(lines[2].error)


# Writing


@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, output_format: str) -> None:
    folder = PartsFolder(tmp_path / "out", output_format, {"dial": 3})
    assert not folder.has(0)
    folder.write(0, [RECORD, ERROR])
    assert folder.has(0) and not folder.has(1) and folder.failed() == 1
    if output_format == "jsonl":
        lines = (tmp_path / "out" / "part-000000.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [RECORD, ERROR]
        return
    rows = pd.read_parquet(tmp_path / "out")  # the whole folder
    assert rows["line"].tolist() == [1, 2] and rows["id"][0] == "7" and rows["model"][0] == "a"
    assert rows[["id", "model"]].isna().to_numpy().tolist() == [[False, False], [True, True]]
    assert rows["domains"][0] == [("Law", 0.75)] and rows["error"][1]["message"] == "the query is empty"


def test_a_kill_while_writing_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PartsFolder(tmp_path / "out", "jsonl", {})

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.write(0, [RECORD])
    assert not folder.has(0)


def test_a_folder_of_another_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    PartsFolder(tmp_path, "jsonl", {"dial": 3, "pool": "a"})
    PartsFolder(tmp_path, "jsonl", {"dial": 3, "pool": "a"})
    with pytest.raises(UsageError, match="holds parts of another run: dial was 3, now 4"):
        PartsFolder(tmp_path, "jsonl", {"dial": 4, "pool": "a"})


@pytest.mark.parametrize(("first", "second"), [("jsonl", "parquet"), ("parquet", "jsonl")])
def test_a_folder_takes_parts_of_one_format_only(tmp_path: Path, first: str, second: str) -> None:
    PartsFolder(tmp_path, first, {"dial": 3}).write(0, [RECORD])
    with pytest.raises(UsageError, match=f"output_format was '{first}', now '{second}'. Repeat that run's input and"):
        PartsFolder(tmp_path, second, {"dial": 3})


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"holds \['thesis.tex'\], but no routed corpus"):
        PartsFolder(tmp_path, "jsonl", {})
    assert not (tmp_path / REQUEST).exists()
    with pytest.raises(UsageError, match="it is a file; name a folder"):
        PartsFolder(tmp_path / "thesis.tex", "jsonl", {})


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"cannot write --output .*: Not a directory; name a folder where you may write"
    ):
        PartsFolder(tmp_path / "file" / "parts", "jsonl", {})
