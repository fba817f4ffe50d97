"""The script that makes the shipped price table, on a wheel with a generated price file."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
from fixtures.price_tables import DAY, litellm_entry

from scripts import price_table


def test_the_table_is_made_from_a_wheel_and_says_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    wheel, shipped = tmp_path / "litellm-1.2.3-py3-none-any.whl", tmp_path / "prices.csv"
    monkeypatch.setattr(price_table, "SHIPPED", shipped)
    monkeypatch.setattr(sys, "argv", ["price_table.py", str(wheel), "--date", DAY])
    for price in (1, 2):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(price_table.MEMBER, json.dumps({"gpt-7": litellm_entry("openai", price, 4)}))
        assert price_table.main() == 0
    assert "openai/gpt-7: input_usd_per_mtok 1.0 -> 2.0\n1 models differ\n" in capsys.readouterr().out
    assert shipped.read_text().startswith(f"# prices of {DAY} from litellm 1.2.3\n")
