"""A file appears whole or not at all, whatever stops its writing."""

import os

import pytest

from router.files import whole_file, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    write_whole(tmp_path / "a", b"old")
    write_whole(tmp_path / "a", b"new")
    with whole_file(tmp_path / "b") as lines:
        lines.write("é\n")
        assert not (tmp_path / "b").exists()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a": b"new", "b": "é\n".encode()}


@pytest.mark.parametrize("error", [OSError("no space left on device"), KeyboardInterrupt()])
def test_what_stops_it_leaves_the_old_file_alone(tmp_path, monkeypatch, error):
    write_whole(tmp_path / "a", b"old")

    def stop(*paths):
        raise error

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(type(error)):
        write_whole(tmp_path / "a", b"new")
    with pytest.raises(type(error)), whole_file(tmp_path / "a") as lines:
        lines.write("new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"old")]


def test_a_file_without_a_line_is_not_kept_where_that_is_asked_for(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with whole_file(tmp_path / "a", keep_empty=False):
        pass
    assert not list(tmp_path.iterdir())
