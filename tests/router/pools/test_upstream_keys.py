"""Upstream keys in files: which files are taken, how keys change while a server runs, and that no key is ever told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fixtures.served import Served, serving

from router.checkpoint.checkpoint import Checkpoint
from router.errors import PoolError, UsageError
from router.pools import upstream_keys
from router.pools.pool import Upstream
from router.pools.upstream_keys import read_key_file, upstream_key
from router.routing.router import Router
from router.serving.service import ConfigLoader


def write(path: Path, content: bytes | str, mode: int = 0o600) -> Path:
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", ["sk-hush", "sk-hush\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_only_line_of_a_private_file_is_the_key(tmp_path: Path, content: str, mode: int) -> None:
    assert read_key_file(write(tmp_path / "key", content, mode)) == "sk-hush"


def test_a_key_has_up_to_4096_bytes(tmp_path: Path) -> None:
    assert read_key_file(write(tmp_path / "key", b"k" * 4095 + b"\n")) == "k" * 4095
    with pytest.raises(UsageError, match="larger than 4,096 bytes"):
        read_key_file(write(tmp_path / "key", b"hush" * 1024 + b"\n"))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("hush\nhush\n", "more than one line"),
        ("hush\n\n", "more than one line"),
        ("hush hush", "no key may have"),
        (" hush", "no key may have"),
        ("hush\t", "no key may have"),
        ("hush\r\n", "no key may have"),
        ("hush\x7f", "no key may have"),
        ("hush\xe9", "no key may have"),
        (b"hush\xff", "no key may have"),
        (b"hush\x00", "no key may have"),
    ],
)
def test_a_file_with_anything_but_one_key_is_refused_and_not_shown(
    tmp_path: Path, content: bytes | str, fault: str
) -> None:
    file = write(tmp_path / "key", content)
    with pytest.raises(UsageError, match=fault) as caught:
        read_key_file(file)
    assert str(file) in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match=r"key: other users .* chmod 600"):
        read_key_file(write(tmp_path / "key", "hush", mode))


def test_a_key_file_of_another_user_is_refused_but_for_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "key", "hush")
    found = os.stat(file)
    owner = 0

    def fstat(handle: int) -> os.stat_result:
        return os.stat_result((*found[:4], owner, *found[5:]))

    monkeypatch.setattr(upstream_keys.os, "fstat", fstat)
    monkeypatch.setattr(upstream_keys.os, "geteuid", lambda: 1234)
    assert read_key_file(file) == "hush"
    owner = 1234
    assert read_key_file(file) == "hush"
    owner = 1235
    with pytest.raises(UsageError, match="belongs to another user"):
        read_key_file(file)


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    file = write(tmp_path / "key", "hush")
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name in ("link", "pipe", "folder"):
        with pytest.raises(UsageError, match="regular file"):
            read_key_file(tmp_path / name)
    with pytest.raises(UsageError, match="missing: No such file"):
        read_key_file(tmp_path / "missing")
    (tmp_path / "now").symlink_to(tmp_path)  # as Kubernetes changes all files of a secret at once
    assert read_key_file(tmp_path / "now" / "key") == "hush"


def test_the_key_of_an_upstream_is_in_its_file_or_its_variable(tmp_path: Path) -> None:
    place = "http://127.0.0.1:9/v1"
    file = write(tmp_path / "key", "from-file")
    environment = {"A": " from-variable ", "EMPTY": " ", "ODD": "hush\n2"}
    assert upstream_key(Upstream(place, "m"), environment) is None
    assert upstream_key(Upstream(place, "m", "A"), environment) == "from-variable"
    assert upstream_key(Upstream(place, "m", key_file=str(file)), environment) == "from-file"
    for name, fault in (("EMPTY", "is not set"), ("NONE", "is not set"), ("ODD", "no header can carry")):
        with pytest.raises(UsageError, match=fault) as caught:
            upstream_key(Upstream(place, "m", name), environment)
        assert "hush" not in str(caught.value)


def keyed(*names: str) -> dict[str, Any]:
    """Entries of a pool whose keys lie beside it."""
    return {name: {"upstream": {"key_file": f"keys/{name}"}} for name in names}


def sent(served: Served, name: str) -> str:
    """What the upstream was last asked with."""
    assert served.chat(model=name).status_code == 200
    return served.upstreams[name].requests[-1].headers["authorization"]


def test_a_bad_key_file_is_an_error_of_the_configuration_at_the_start(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "keys").mkdir()
    write(tmp_path / "keys" / "a", "sk-hush", 0o644)
    with pytest.raises(PoolError) as caught, serving(tiny_checkpoint, tmp_path, names=("a", "b"), **keyed("a", "b")):
        pass
    told = str(caught.value)
    assert f"a: upstream.key_file: {tmp_path}/keys/a: other users" in told
    assert f"b: upstream.key_file: {tmp_path}/keys/b: No such file" in told
    assert "hush" not in told


def test_a_reload_takes_new_keys_over_and_one_bad_file_keeps_all_the_old_ones(
    tiny_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="router")
    (tmp_path / "keys").mkdir()
    keys = [write(tmp_path / "keys" / name, f"sk-hush-{name}-1\n") for name in "ab"]
    log = tmp_path / "log.sqlite"
    with serving(
        tiny_checkpoint, tmp_path, names=("a", "b"), serve={"decision_log": str(log)}, **keyed("a", "b")
    ) as served:

        def reload() -> bool:
            return asyncio.run(served.state.reload())

        assert [sent(served, name) for name in "ab"] == ["Bearer sk-hush-a-1", "Bearer sk-hush-b-1"]
        write(keys[0], "sk-hush-a-2\n")
        assert sent(served, "a") == "Bearer sk-hush-a-1"  # not before it is told
        write(keys[1], "sk-hush b-2\n")
        caplog.clear()
        assert not reload()
        assert [sent(served, name) for name in "ab"] == ["Bearer sk-hush-a-1", "Bearer sk-hush-b-1"]
        [line] = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
        assert "all stays as it was" in line
        assert f"{keys[1]}: it holds a character that no key may have" in line
        assert "\n" not in line
        write(keys[1], "sk-hush-b-2\n")
        assert reload()
        assert [sent(served, name) for name in "ab"] == ["Bearer sk-hush-a-2", "Bearer sk-hush-b-2"]
        served.fail("echo")
        told = "".join(served.chat(model=model).text for model in ("a", "b", "auto"))
        told += served.client.get("/metrics").text + served.client.get("/openapi.json").text + caplog.text
        told += repr(served.state.snapshot) + repr(list(served.state.snapshot.upstreams.targets.values()))
        assert "hush" not in told
    assert b"hush" not in log.read_bytes()


def test_a_new_key_closes_a_breaker_that_the_old_one_opened(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key = write(tmp_path / "keys" / "a", "one")
    with serving(tiny_checkpoint, tmp_path, names=("a",), **keyed("a")) as served:
        path = served.state.loader.pool_file
        loader = ConfigLoader(path, lambda: Router(tiny_checkpoint), {})
        old = served.state.snapshot
        old.upstreams.targets["a"].breaker.failed(retry_after_s=60)
        write(key, "one")
        _, same = loader.load(old)
        assert same.upstreams.breaker_states() == {"a": "open"}
        write(key, "two")
        _, new = loader.load(old)
        assert new.upstreams.breaker_states() == {"a": "closed"}
        assert new.upstreams.targets["a"].load is old.upstreams.targets["a"].load
