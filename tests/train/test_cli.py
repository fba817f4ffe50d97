from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from train import cli


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("model", "correct_typos", True),
        ("model", "correct_typos", False),
        ("model", "sharing_weight", 0.1),
        ("data", "augment", 0.5),
    ],
)
@pytest.mark.parametrize("given_in", ["file", "flag"])
def test_a_removed_option_is_one_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given_in: str, section: str, name: str, value: float
) -> None:
    config: dict[str, dict[str, object]] = {"model": {}, "data": {"pools": ["configs/pools/small9.yaml"]}}
    if given_in == "file":
        config[section][name] = value
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    flag = [f"--{section}.{name}", str(value).lower()] if given_in == "flag" else []
    assert cli.main(["fit", "--config", str(file), *flag]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith(f"train: error: {name} was removed")
