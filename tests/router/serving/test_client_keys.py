"""Client keys: their file, and rate limits as token buckets on a clock that the test moves."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from router.errors import UsageError
from router.serving.client_keys import PRUNE_FROM, Key, KeyRing, RateLimits, default_keys_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_new_keys_secret_is_recognised_and_is_kept_nowhere(file: Path) -> None:
    ring = KeyRing(file)
    secret = ring.create("ci", 60)
    key = ring.check(secret)
    assert key is not None
    assert (key.name, key.requests_per_minute, key.revoked) == ("ci", 60, None)
    assert secret.startswith(f"rk-{key.id}-")
    assert secret.rpartition("-")[2] not in file.read_text()
    assert secret not in repr(key)
    assert key.sha256 not in repr(key)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_no_secret_of_the_ring_is_refused(file: Path) -> None:
    ring = KeyRing(file)
    secret = ring.create("ci")
    key = ring.list()[0]
    wrong = ["", "rk", "rk-", f"rk-{key.id}", f"rk-{key.id}-", secret[:-1], secret + "x", secret.upper(), " " + secret]
    wrong += [key.sha256, "rk-00000000-" + "a" * 43, secret * 1000, "rk-\ud800-x", "rk-\x00-x", "é" * 50]
    assert [each for each in wrong if ring.check(each) is not None] == []
    assert KeyRing(file.with_name("none.json")).check(secret) is None


def test_a_revoked_key_is_refused_at_once_by_a_ring_that_was_open_before(file: Path) -> None:
    serving, command = KeyRing(file), KeyRing(file)
    secret, other = command.create("a"), command.create("b")
    key = serving.check(secret)
    assert key is not None
    assert command.revoke(key.id).revoked is not None
    assert serving.check(secret) is None
    assert serving.check(other) is not None
    assert [each.revoked is None for each in serving.list()] == [False, True]
    when = serving.list()[0].revoked
    assert command.revoke(key.id).revoked == when  # once is enough
    assert command.create("a") != secret  # the name is free again


def test_a_ring_whose_file_is_gone_lets_nobody_in(file: Path) -> None:
    ring = KeyRing(file)
    secret = ring.create("a")
    file.unlink()
    assert ring.check(secret) is None


def test_a_file_broken_while_serving_leaves_the_keys_as_they_were_and_says_so(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(file)
    secret = ring.create("a")
    assert ring.check(secret) is not None
    file.write_text("{")
    assert ring.check(secret) is not None
    assert ring.check(secret) is not None
    assert [record.message for record in caplog.records if "is broken" in record.message] == [caplog.messages[-1]]
    with pytest.raises(UsageError, match="is broken"):  # and nothing is written over it
        ring.create("b")
    assert file.read_text() == "{"


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "zz"},
        {"requests_per_minute": 0},
        {"requests_per_minute": True},
        {"id": 3},
        {"revoked": 1},
        {"strange": 1},
    ],
    ids=str,
)
def test_a_file_with_a_wrong_value_is_refused(file: Path, change: dict[str, object]) -> None:
    KeyRing(file).create("a")
    raw = json.loads(file.read_text())
    raw["keys"][0] |= change
    file.write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="is broken"):
        KeyRing(file)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format_version": 1, "keys": [1]}', "\x00", "[" * 100_000])
def test_a_file_that_is_something_else_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="is broken"):
        KeyRing(file)


def test_a_newer_file_and_one_that_others_may_write_to_are_refused(file: Path) -> None:
    file.write_text('{"format_version": 2}')
    with pytest.raises(UsageError, match="version 2, this program reads version 1"):
        KeyRing(file)
    file.chmod(0o666)
    with pytest.raises(UsageError, match="chmod 600"):
        KeyRing(file)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_the_group_or_all_others_may_write_to_is_refused(file: Path, mode: int) -> None:
    KeyRing(file).create("a")
    file.chmod(mode)
    with pytest.raises(UsageError, match="other users may write to"):
        KeyRing(file)


def test_names_and_limits_that_are_not_allowed_are_refused(file: Path) -> None:
    ring = KeyRing(file)
    ring.create("a")
    for name in ("", " ", "a\nb", "x" * 101, "a"):
        with pytest.raises(UsageError, match="name"):
            ring.create(name)
    with pytest.raises(UsageError, match="requests per minute: got 0"):
        ring.create("b", 0)
    with pytest.raises(UsageError, match="no key 'nope'; known: "):
        ring.revoke("nope")
    with pytest.raises(UsageError, match="no folder"):
        KeyRing(file.parent / "missing" / "keys.json").create("a")


def test_keys_created_at_once_are_all_kept(file: Path) -> None:
    secrets: list[str] = []
    threads = [threading.Thread(target=lambda n=n: secrets.append(KeyRing(file).create(f"k{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ring = KeyRing(file)
    assert [ring.check(secret) is not None for secret in secrets] == [True] * 8


def test_a_change_that_keeps_the_files_size_and_time_is_seen(file: Path) -> None:
    ring = KeyRing(file)
    secret = ring.create("a")
    before = file.stat()
    beside = file.with_suffix(".copy")
    beside.write_text(file.read_text().replace(ring.list()[0].sha256, "0" * 64))
    beside.chmod(0o600)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(beside, file)
    assert file.stat().st_size == before.st_size
    assert ring.check(secret) is None


def test_the_default_file_is_the_variables_else_in_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_KEYS", "/etc/router/keys.json")
    assert default_keys_file() == Path("/etc/router/keys.json")
    monkeypatch.delenv("ROUTER_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/settings")
    assert default_keys_file() == Path("/settings/inferencedynamics/keys.json")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_keys_file() == Path("/home/me/.config/inferencedynamics/keys.json")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def key(name: str, requests_per_minute: int | None) -> Key:
    return Key(name, name, requests_per_minute, "2026-01-01")


def test_a_minutes_requests_may_come_at_once_and_then_one_as_each_token_returns(clock: Clock) -> None:
    limits, six = RateLimits(clock), key("a", 6)
    assert [limits.admit(six) for _ in range(6)] == [None] * 6
    assert limits.admit(six) == pytest.approx(10)
    clock.now += 4
    assert limits.admit(six) == pytest.approx(6)
    clock.now += 6
    assert limits.admit(six) is None
    assert limits.admit(six) == pytest.approx(10)
    clock.now += 1e6
    assert [limits.admit(six) for _ in range(7)].count(None) == 6  # rest does not pile up


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limits, one = RateLimits(clock), key("a", 1)
    assert limits.admit(one) is None
    assert {limits.admit(one) for _ in range(100)} == {60.0}
    clock.now += 60
    assert limits.admit(one) is None


def test_a_request_may_count_as_many_and_costs_nothing_where_not_all_may_pass(clock: Clock) -> None:
    limits, sixty = RateLimits(clock), key("a", 60)
    assert limits.admit(sixty) is None
    assert limits.admit(sixty, 40, paid=1) is None
    assert limits.admit(sixty) is None  # 41
    assert limits.admit(sixty, 30, paid=1) == pytest.approx(10)  # of which the 41st is given back
    clock.now += 10
    assert limits.admit(sixty) is None
    assert limits.admit(sixty, 30, paid=1) is None
    assert limits.admit(sixty) == pytest.approx(1)


def test_over_a_long_time_the_rate_is_the_allowed_one(clock: Clock) -> None:
    limits, hundred = RateLimits(clock), key("a", 100)
    admitted = 0
    for _ in range(10_000):  # ten times as many as allowed, for ten minutes
        clock.now += 0.06
        admitted += limits.admit(hundred) is None
    assert 1000 <= admitted <= 1100


def test_keys_have_buckets_of_their_own_and_one_without_a_limit_needs_none(clock: Clock) -> None:
    limits = RateLimits(clock)
    assert limits.admit(key("a", 1)) is None
    assert limits.admit(key("b", 1)) is None
    assert limits.admit(key("a", 1)) is not None
    assert [limits.admit(key("c", None)) for _ in range(1000)] == [None] * 1000


def test_full_buckets_are_forgotten_and_empty_ones_are_not(clock: Clock) -> None:
    limits, busy = RateLimits(clock), key("busy", 1)
    for number in range(5 * PRUNE_FROM):
        clock.now += 1
        limits.admit(key(f"k{number}", 600))
        if number % 30 == 0:
            limits.admit(busy)
    assert len(limits._full_at) <= PRUNE_FROM + 1
    assert limits.admit(busy) is not None
