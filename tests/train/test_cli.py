from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from train import cli


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("given_in", ["file", "flag"])
def test_a_removed_option_is_one_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given_in: str, value: bool
) -> None:
    config = {
        "model": {"correct_typos": value} if given_in == "file" else {},
        "data": {"pools": ["configs/pools/small9.yaml"]},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    flag = ["--model.correct_typos", str(value).lower()] if given_in == "flag" else []
    assert cli.main(["fit", "--config", str(file), *flag]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith("train: error: correct_typos was removed: ")
