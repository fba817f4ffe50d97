"""Reading YAML strictly: what cannot be read is one line, what is given twice is noticed, no line is quoted."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from router.pools.strict_yaml import read_json, read_yaml

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: str | bytes) -> Path:
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


def test_plain_values_come_back_and_dates_stay_text(write: Write) -> None:
    values, problems = read_yaml(write("a: 1\nb: [2024-11-05, 2024-13-45, 2024-11]\nc: {d: yes}\n"))
    assert values == {"a": 1, "b": ["2024-11-05", "2024-13-45", "2024-11"], "c": {"d": True}}
    assert problems == []


def test_a_byte_order_mark_is_no_part_of_the_first_key(write: Write) -> None:
    assert read_yaml(write(b"\xef\xbb\xbfa: 1\n")) == ({"a": 1}, [])


def test_an_empty_file_holds_nothing(write: Write) -> None:
    assert read_yaml(write("# only a comment\n")) == (None, [])


def test_every_key_given_twice_is_named_with_both_lines(write: Write) -> None:
    _, problems = read_yaml(write('a: 1\nb:\n  - {c: 1, c: 2}\n"a": 3\nd: 4\na: 5\n'))
    assert problems == [
        "line 3: 'c' is given twice, first on line 3; keep one",
        "line 4: 'a' is given twice, first on line 1; keep one",
        "line 6: 'a' is given twice, first on line 1; keep one",
    ]


def test_a_merged_mapping_may_be_overridden(write: Write) -> None:
    values, problems = read_yaml(write("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"))
    assert (values, problems) == ({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", r"^line 3, column 2: not YAML: expected ',' or '\]'"),
        ("a: 1\n  b: 2\n", r"^line 2, column 4: not YAML: mapping values are not allowed here"),
        ("a: !!python/object:os.system {}\n", r"^line 1, column 4: not YAML: could not determine a constructor"),
        ("? [1, 2]\n: 3\n", r"^line 1, column 3: not YAML: found unhashable key"),
        ("a: 1\n---\nb: 2\n", r"^line 2, column 1: not YAML: but found another document"),
        ("a: 1\nb: \x00\n", "^line 2: not YAML: a character that YAML does not allow"),
        (b"a: 1\nb: \xff\xfe\n", r"^line 2: not UTF-8 \(byte 8\); save the file as UTF-8"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "a number, date or tagged value is malformed"),
        ("a: !!timestamp 2024-13-45", "a number, date or tagged value is malformed"),
        ("a: !!bool perhaps", "a number, date or tagged value is malformed"),
    ],
)
def test_what_is_not_yaml_is_one_line_that_says_where(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        read_yaml(write(content))
    assert "\n" not in str(raised.value)


def test_a_syntax_error_does_not_quote_its_line(write: Write) -> None:
    with pytest.raises(ValueError, match="line 1") as raised:
        read_yaml(write("api_key: hush-hush: [\n"))
    assert "hush" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_said_to_be_just_that(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_json_is_read_as_strictly(write: Write) -> None:
    assert read_json(write('{"a": 1, "b": ["2024-11-05"]}')) == ({"a": 1, "b": ["2024-11-05"]}, [])
    _, problems = read_json(write('{"a": 1, "b": {"c": 1, "c": 2, "d": 3}}'))
    assert problems == ["'c' given twice in one object; keep one"]
    with pytest.raises(ValueError, match=r"^line 2, column 2: not JSON: Expecting property name"):
        read_json(write('{"a": 1,\n 2}'))
    with pytest.raises(ValueError, match="not JSON that can be read: nested too deeply"):
        read_json(write("[" * 100_000))


@pytest.mark.parametrize("shape", ["[", "- ", "? ", "{a: ", "a:\n"], ids=["flow", "list", "key", "mapping", "lines"])
def test_a_hundred_thousand_levels_are_an_error_and_no_crash(write: Write, shape: str) -> None:
    lines = (" " * level + shape for level in range(3000))
    content = "".join(lines) if shape == "a:\n" else shape * 100_000
    with pytest.raises(ValueError, match="not YAML that can be read: nested too deeply"):
        read_yaml(write(content + "x"))


WITHOUT_LIBYAML = """
import sys
sys.modules["yaml._yaml"] = None  # as in a PyYAML that was built without it
import yaml
from pathlib import Path
from router.pools.strict_yaml import read_yaml
print(yaml.__with_libyaml__, read_yaml(Path(sys.argv[1])))
"""


def test_without_libyaml_the_same_is_read(write: Write) -> None:
    path = write('x: &x {a: 2024-11-05, b: [yes, 1.5, ~]}\ny:\n  <<: *x\n  b: "é"\n  b: 3\n')
    command = [sys.executable, "-c", WITHOUT_LIBYAML, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert yaml.__with_libyaml__
    assert done.stdout == f"False {read_yaml(path)}\n"
    assert "'b' is given twice, first on line 4" in done.stdout


def test_garbage_is_collected_again_after_a_file_was_read_or_not(write: Write) -> None:
    read_yaml(write("a: 1\n"))
    with pytest.raises(ValueError):
        read_yaml(write("[" * 5000))
    assert gc.isenabled()
