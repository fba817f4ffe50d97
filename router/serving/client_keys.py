"""Client keys, in a file that holds only their digests, and the rate limit of each key.

A secret is `rk-ID-RANDOM` with 256 random bits. Nobody can guess those, so SHA-256 is the right digest: a slow digest
for passwords would only slow every request. This module knows no HTTP.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from router.errors import UsageError, known_names
from router.files import locked_folder, private_write, settings_folder

logger = logging.getLogger(__name__)

KEYS_VARIABLE = "ROUTER_KEYS"
FORMAT_VERSION = 1
PREFIX = "rk"
LONGEST_SECRET, LONGEST_NAME = 128, 100  # characters
NO_DIGEST = "0" * 64  # the digest of no known secret
PRUNE_FROM = 1024  # token buckets


@dataclass(frozen=True)
class Key:
    """A client key, without its secret."""

    id: str  # 8 hexadecimal digits, no secret
    name: str
    requests_per_minute: int | None  # None: any number
    created: str  # ISO time, UTC
    revoked: str | None = None
    sha256: str = field(default=NO_DIGEST, repr=False)  # of the whole secret


def default_keys_file() -> Path:
    """The path in ROUTER_KEYS, by default inferencedynamics/keys.json in the user's folder of settings."""
    return Path(os.environ.get(KEYS_VARIABLE) or settings_folder() / "keys.json")


class KeyRing:
    """The keys in a file, which is read again after each change: a revoked key is refused at once."""

    def __init__(self, file: str | Path) -> None:
        """A missing file is a ring without keys. UsageError if the file is broken or others may write to it."""
        self.file = Path(file)
        self._stamp = _stamp(self.file)
        self._keys = _read(self.file)

    def create(self, name: str, requests_per_minute: int | None = None) -> str:
        """The secret of a new key, which is stored nowhere. Raises UsageError for a forbidden name or number."""
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise UsageError(f"name: got {name[:200]!r}, allowed is printable text of 1 to {LONGEST_NAME} characters")
        if requests_per_minute is not None and requests_per_minute < 1:
            raise UsageError(f"requests per minute: got {requests_per_minute}, allowed are 1 and more")
        with self._changing() as keys:
            taken = next((key for key in keys.values() if key.name == name and key.revoked is None), None)
            if taken is not None:
                raise UsageError(f"key {taken.id} is named {name!r}: take another name, or revoke it first")
            key_id = next(each for each in iter(lambda: secrets.token_hex(4), None) if each not in keys)
            secret = f"{PREFIX}-{key_id}-{secrets.token_urlsafe(32)}"
            keys[key_id] = Key(key_id, name, requests_per_minute, _now(), sha256=_digest(secret))
        return secret

    def revoke(self, key_id: str) -> Key:
        """The key, refused from now on; it stays in the file for readers of the log. UsageError if unknown."""
        with self._changing() as keys:
            if key_id not in keys:
                raise UsageError(f"{self.file} holds no key {key_id!r}; {known_names(key_id, keys)}")
            key = keys[key_id]
            keys[key_id] = replace(key, revoked=key.revoked or _now(), sha256=NO_DIGEST)
        return keys[key_id]

    def list(self) -> tuple[Key, ...]:
        """All keys, revoked ones included, the oldest first."""
        self._refresh()
        return tuple(self._keys.values())

    def check(self, secret: str) -> Key | None:
        """The key with this secret, None if there is none or it is revoked. Compares in constant time."""
        self._refresh()
        key = self._keys.get(secret[len(PREFIX) + 1 :].partition("-")[0]) if len(secret) <= LONGEST_SECRET else None
        known = hmac.compare_digest(_digest(secret[:LONGEST_SECRET]), NO_DIGEST if key is None else key.sha256)
        return key if known and key is not None and key.revoked is None else None

    def _refresh(self) -> None:
        stamp = _stamp(self.file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _read(self.file)
        except UsageError as error:
            logger.error("client keys: %s. Until then the keys read before stay valid", error)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys by id, read under a lock; the caller's changes are then written."""
        if not self.file.parent.is_dir():
            raise UsageError(f"there is no folder {self.file.parent} for the keys; make it, or name another file")
        with locked_folder(self.file.parent):
            keys = _read(self.file)
            yield keys
            raw = {"format_version": FORMAT_VERSION, "keys": [asdict(key) for key in keys.values()]}
            private_write(self.file, json.dumps(raw, indent=1).encode() + b"\n")


class RateLimits:
    """Token buckets, one a key, as full as one minute's allowance (GCRA, the generic cell rate algorithm).

    A bucket is stored as the time at which it is full again. For one thread, and per process: N replicas admit N times
    as much.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, never going back."""
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._prune_at = PRUNE_FROM

    def admit(self, key: Key, requests: int = 1, paid: int = 0) -> float | None:
        """None if so many requests may pass now, which takes their tokens; otherwise the seconds until they may.

        A key that rested may make a minute's requests at once, then one each 60 / requests_per_minute seconds. More
        than a minute's never pass. `paid` of them were admitted before; they are given back if not all may pass.
        """
        if key.requests_per_minute is None:
            return None
        now, each_s = self._clock(), 60 / key.requests_per_minute
        full_at = max(self._full_at.get(key.id, now), now) + (requests - paid) * each_s
        early = full_at - (now + 60)
        if early > 1e-9:  # of rounding
            self._full_at[key.id] = full_at - requests * each_s
            return early
        self._full_at[key.id] = full_at
        if len(self._full_at) > self._prune_at:
            self._prune(now)
        return None

    def _prune(self, now: float) -> None:
        """Forget full buckets: a key without a bucket has the same rights."""
        self._full_at = {key_id: full_at for key_id, full_at in self._full_at.items() if full_at > now}
        self._prune_at = max(PRUNE_FROM, 2 * len(self._full_at))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Inode, time and size of the file, which change with every rewrite; None without a file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path) -> dict[str, Key]:
    """The keys by id, none without a file. Raises UsageError."""
    try:
        with file.open("rb") as opened:
            mode, content = os.fstat(opened.fileno()).st_mode, opened.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"the keys in {file} cannot be read ({error})") from error
    if mode & 0o022:
        raise UsageError(f"other users may write to {file} and so let themselves in: chmod 600 {file}")
    try:
        raw = json.loads(content)
        version = raw["format_version"]
        if version == FORMAT_VERSION:
            keys = [_key(each) for each in raw["keys"]]
            return {key.id: key for key in keys}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{file} is broken ({type(error).__name__}: {error}); put a copy back, or move it away and create new keys"
        ) from error
    raise UsageError(f"{file} is of version {version!r}, this program reads version {FORMAT_VERSION}")


def _key(raw: dict[str, object]) -> Key:
    """The key in a JSON object; ValueError or TypeError for a value of the wrong kind."""
    key = Key(**raw)  # type: ignore[arg-type]  # judged below
    texts = [key.id, key.name, key.created, key.sha256, *([] if key.revoked is None else [key.revoked])]
    if not all(isinstance(each, str) for each in texts) or not re.fullmatch("[0-9a-f]{64}", key.sha256):
        raise ValueError(f"key {key.id!r} holds a value of the wrong kind")
    limit = key.requests_per_minute
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"key {key.id!r}: requests_per_minute must be a whole number above 0 or null")
    return key
