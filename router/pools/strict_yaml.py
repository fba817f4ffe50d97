"""Strict YAML and JSON reader: a key given twice is a problem, a date stays text.

Knows nothing of what the values mean. No message quotes a line of the file, which may hold a secret by mistake.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml


def read_values(path: Path) -> tuple[object, list[str]]:
    """The plain values of a file that `read_json` reads if its name ends in .json, and `read_yaml` if not."""
    return read_json(path) if path.suffix == ".json" else read_yaml(path)


def read_yaml(path: Path) -> tuple[object, list[str]]:
    """The plain values of a YAML file and one line for each key that it gives twice.

    Raises ValueError when the file cannot be read at all: missing, not UTF-8, not YAML.
    """
    text = _read_text(path)
    try:
        try:
            return _loaded(text, _FastLoader)
        except yaml.YAMLError:  # PyYAML's own parser says more than libyaml of what is wrong
            return _loaded(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ValueError(f"line {line}: not YAML: a character that YAML does not allow") from error
    except RecursionError as error:
        raise ValueError("not YAML that can be read: nested too deeply") from error
    except (ValueError, LookupError, AttributeError) as error:  # PyYAML's, for 0b_ or !!timestamp x
        raise ValueError("not YAML that can be read: a number, date or tagged value is malformed") from error


def read_json(path: Path) -> tuple[object, list[str]]:
    """As `read_yaml`, of a JSON file; 25 times as fast, for pools of many thousand models."""
    problems: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = sorted({key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1})
            problems.append(f"{', '.join(map(repr, twice))} given twice in one object; keep one")
        return found

    try:
        return json.loads(_read_text(path), object_pairs_hook=mapping), problems
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read: nested too deeply") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError("no such file; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line}: not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def _loaded(text: str, loader_class: type[_StrictLoader]) -> tuple[object, list[str]]:
    loader = None
    try:
        with no_garbage_collection():
            loader = loader_class(text)
            return loader.get_single_data(), loader.problems
    finally:
        if loader is not None:
            loader.dispose()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """A block that makes a million values which all stay; looking for garbage among them takes most of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that notes keys given twice and leaves dates as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's spelling)
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping as PyYAML reads it; keys given twice go to `problems`."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                self.problems.append(
                    f"line {line}: {key.value!r} is given twice, first on line {first[name]}; keep one"
                )
            first.setdefault(name, line)
        return node


_FastLoader: type[_StrictLoader] = _StrictLoader
if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _CLoader(CParser, _StrictLoader):
        """The same with libyaml's parser. Nodes are composed in Python: in C, deep nesting would crash the process."""

        get_single_node = yaml.SafeLoader.get_single_node

        def __init__(self, text: str) -> None:
            _StrictLoader.__init__(self, "")
            CParser.__init__(self, text)

    _FastLoader = _CLoader
