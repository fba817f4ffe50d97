"""Query files of every format."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def test_queries_are_read_alike_from_every_format_and_a_text_given_twice_comes_once(tmp_path: Path) -> None:
    from train.data_folders.query_file import read_queries, survey

    texts = ["first", "second, with a comma", "first"]
    (tmp_path / "q.txt").write_text("\ufefffirst\n\nsecond, with a comma\r\nfirst")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pd.DataFrame({"query": texts}).to_csv(tmp_path / "q.csv", index=False)
    pd.DataFrame({"query": texts, "answer": ["1", None, "3"]}).to_parquet(tmp_path / "q.parquet")
    found = {}
    for suffix in ("txt", "jsonl", "csv", "parquet"):
        file = tmp_path / f"q.{suffix}"
        assert vars(survey(file)) == {"queries": 2, "repeated": 1}
        found[suffix] = [(row.query_id, row.text) for row in read_queries(file)]
    assert found["txt"] == found["jsonl"] == found["csv"] == found["parquet"]
    assert [text for _, text in found["txt"]] == texts[:2]
    assert [row.fields for row in read_queries(tmp_path / "q.parquet")] == [{"answer": "1"}, {}]
