"""Settings of the gateway: the `serve:` section of a pool file, validated together with the upstreams of the pool.

    serve: {port: 8080, attempts: 3, deadline_s: 120, decision_log: decisions.sqlite, keys: keys.json}

This module opens the pool file and the files of upstream keys, nothing else. Names end with their unit.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from router.errors import UsageError, known_names
from router.installation import how_to_install
from router.pools.pool import Pool
from router.pools.schema import (
    LIMITS,
    OPENAI,
    Field,
    flag,
    names,
    not_negative,
    positive,
    quoted,
    read_mapping,
    shown,
    text,
)
from router.pools.strict_yaml import read_values
from router.pools.upstream_keys import upstream_key

PASSED_PATHS = ("/v1/embeddings", "/v1/images", "/v1/audio", "/v1/moderations")  # POST is always passed on
AUTO = re.compile(r"auto(?::(10|[0-9]))?")  # models that are routed: `auto`, or with a dial from 0 to 10


@dataclass(frozen=True)
class ServeSettings:
    """The settings that `serve:` may have; a flag of `router serve` overrides them."""

    host: str = "127.0.0.1"  # address to listen on; an address other than loopback needs client keys
    port: int = 8080  # 0: any free port
    hosts: tuple[str, ...] = ()  # further names allowed in a request's Host header
    origins: tuple[str, ...] = ()  # web pages (https://name) that may send requests from a browser
    keys: str | None = None  # file of client keys; by default, except on loopback, that of `router keys`
    passed_paths: tuple[str, ...] = ()  # further paths (/v1/files), with all below, passed on with the upstream's key
    dial: float = 3.0  # of `auto` without a number
    guard: bool = False  # ignore an unusual end of a query that changes its route
    deadline_s: float = 120.0  # from the arrival of a request until its decision or response, all attempts included
    attempts: int = 3  # upstreams tried for one request
    retry_share: float = 0.2  # retries after failures, as a share of all requests
    retry_burst: int = 100  # retries that may be made at once
    breaker_failures: int = 5  # failures in a row that open an upstream's breaker
    breaker_open_s: float = 5.0  # before the first probe
    load_weight: float = 0.2  # most utility that load takes from an upstream
    session_threshold: float = 0.03  # predicted utility given up to stay with a conversation's model
    session_ttl_s: float = 3600.0  # after which an idle session is forgotten
    max_sessions: int = 10_000  # remembered turns of conversations; each holds one number per model
    max_queue: int = 1024  # single queries that may wait for their decision
    max_batch_queue: int = 10_000  # queries of batches that may wait for theirs
    max_body_bytes: int = 20_000_000  # of a request's body
    max_depth: int = 64  # arrays and objects inside each other in a body
    body_timeout_s: float = 30.0  # until a request's body has arrived
    decision_log: str | None = None  # SQLite file; without it decisions are not logged
    log_max_bytes: int = 1_000_000_000  # of the decision log
    log_max_age_days: float | None = None  # age at which a logged decision is deleted; None: never
    when_log_full: str = "delete_oldest"  # or drop (new rows, which are counted), or refuse (requests)
    store_prompts: bool = False  # False: the log holds an HMAC of each prompt
    drain_s: float = 30.0  # for requests in progress when the server stops

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _whole(low: int, high: int) -> Field:
    def judge(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f"got {shown(value)}; write a whole number from {low:,} to {high:,}")

    return Field(judge)


def _share(value: Any) -> float:
    number = not_negative(value)
    if number <= 1:
        return number
    raise ValueError(f"got {shown(value)}; write a number from 0 to 1")


def _dial(value: Any) -> float:
    number = not_negative(value)
    if number <= 10:
        return number
    raise ValueError(f"got {shown(value)}; write a number from 0 (quality) to 10 (least cost)")


def _when_full(value: Any) -> str:
    if value in ("delete_oldest", "drop", "refuse"):
        return str(value)
    raise ValueError(f"got {shown(value)}; write delete_oldest, drop or refuse")


def _origins(value: Any) -> tuple[str, ...]:
    found = names(value)
    for each in found:
        if not re.fullmatch(r"https?://[^/\s]+", each):
            raise ValueError(f"got {quoted(each)}; write origins such as https://chat.example.com")
    return found


def _paths(value: Any) -> tuple[str, ...]:
    found = names(value)
    for each in found:
        if not re.fullmatch(r"/v1(/[A-Za-z0-9_-]+)+", each):
            raise ValueError(f"got {quoted(each)}; write paths such as /v1/files, without a / at the end")
    return found


SERVE = {
    "host": Field(text),
    "port": _whole(0, 65535),
    "hosts": Field(names),
    "origins": Field(_origins),
    "keys": Field(text),
    "passed_paths": Field(_paths),
    "dial": Field(_dial),
    "guard": Field(flag),
    "deadline_s": Field(positive),
    "attempts": _whole(1, 20),
    "retry_share": Field(_share),
    "retry_burst": _whole(0, 1_000_000),
    "breaker_failures": _whole(1, 1000),
    "breaker_open_s": Field(positive),
    "load_weight": Field(_share),
    "session_threshold": Field(_share),
    "session_ttl_s": Field(positive),
    "max_sessions": _whole(1, 100_000_000),
    "max_queue": _whole(1, 10_000_000),
    "max_batch_queue": _whole(1, 10_000_000),
    "max_body_bytes": _whole(1, 1_000_000_000),
    "max_depth": _whole(1, 200),
    "body_timeout_s": Field(positive),
    "decision_log": Field(text),
    "log_max_bytes": _whole(16 * 2**20, 10**15),
    "log_max_age_days": Field(positive),
    "when_log_full": Field(_when_full),
    "store_prompts": Field(flag),
    "drain_s": Field(not_negative),
}
assert [*SERVE] == [each.name for each in fields(ServeSettings)]


def read_settings(path: str | Path, flags: Mapping[str, Any], problems: list[str]) -> ServeSettings:
    """The settings in a pool file, overridden by `flags` that are not None; problems are added to `problems`."""
    path = Path(path)
    try:
        raw, _ = read_values(path)
    except ValueError:  # the reader of the pool reports it
        raw = {}
    section = raw.get("serve") if isinstance(raw, dict) else None
    given = read_mapping("serve.", section, SERVE, problems) if section is not None else {}
    return ServeSettings(**given | {name: value for name, value in flags.items() if value is not None})


def upstream_problems(pool: Pool, environment: Mapping[str, str]) -> list[str]:
    """Problems of a pool's upstreams. A pool without any upstream has none: its server only decides."""
    problems = []
    having = [each for each in pool.candidates if each.upstream]
    for candidate in pool.candidates:
        where, upstream = f"{candidate.id}: upstream", candidate.upstream
        if AUTO.fullmatch(candidate.id):
            problems.append(f"{candidate.id}: the name is taken for what is routed; give the model another id")
        if upstream is None:
            if having:
                problems.append(f"{where}: missing; give every model one, or none to decide without forwarding")
            continue
        try:
            upstream_key(upstream, environment)
        except UsageError as error:
            problems.append(f"{where}.{error}")
        for name in upstream.limits:
            if name not in LIMITS:
                problems.append(f"{where}.limits: unknown limit {name!r}; {known_names(name, LIMITS)}")
        if upstream.provider != OPENAI and find_spec("litellm") is None:
            problems.append(
                f"{where}.provider: {quoted(upstream.provider)} is asked by LiteLLM, which is not installed: "
                f"{how_to_install('litellm')}, or leave provider out where it speaks OpenAI's protocol"
            )
    return problems


def check_bind(settings: ServeSettings, keys: int) -> list[str]:
    """Problems of the address to listen on; `keys` is the number of valid client keys."""
    if keys:
        return []
    if settings.is_loopback:
        return (
            [f"serve.keys: {settings.keys} holds no valid key: make one with `router keys create`"]
            if settings.keys
            else []
        )
    return [
        f"serve.host: {settings.host} can be reached from other machines and there is no client key: make one with "
        "`router keys create NAME`, or listen on 127.0.0.1"
    ]
