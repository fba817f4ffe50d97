"""Settings of the gateway: the `serve:` section of a pool file, validated together with the upstreams of the pool.

    serve: {port: 8080, attempts: 3, deadline_s: 120, decision_log: decisions.sqlite, keys: keys.json}

This module opens the pool file and the files of upstream keys, nothing else. Names end with their unit.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from router.errors import UsageError, known_names, quoted
from router.installation import how_to_install
from router.options import DEFAULT_DIAL, DIAL_MAX
from router.pools.pool import LIMITS, OPENAI, Pool
from router.pools.schema import PoolSection
from router.pools.strict_yaml import read_values
from router.pools.upstream_keys import upstream_key
from router.validation import Names, NotNegative, Positive, Says, Share, Text, Whole, listed, read

PASSED_PATHS = ("/v1/embeddings", "/v1/images", "/v1/audio", "/v1/moderations")  # POST is always passed on
AUTO = re.compile(r"auto(?::(10|[0-9]))?")  # models that are routed: `auto`, or with a dial from 0 to 10


Origin = Annotated[str, Field(pattern=r"^https?://[^/\s]+$"), Says("write origins such as https://chat.example.com")]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(listed)]
PassedPath = Annotated[
    str, Field(pattern="^/v1(/[A-Za-z0-9_-]+)+$"), Says("write paths such as /v1/files, without a / at the end")
]
Paths = Annotated[tuple[PassedPath, ...], BeforeValidator(listed)]
Dial = Annotated[float, Field(ge=0, le=DIAL_MAX), Says("write a number from 0 (quality) to 10 (least cost)")]


class ServeSettings(PoolSection):
    """The settings that `serve:` may have; a flag of `router serve` overrides them."""

    host: Text = "127.0.0.1"  # address to listen on; an address other than loopback needs client keys
    port: Annotated[int, Whole(0, 65535)] = 8080  # 0: any free port
    hosts: Names = ()  # further names allowed in a request's Host header
    origins: Origins = ()  # web pages (https://name) that may send requests from a browser
    keys: Text | None = None  # file of client keys; by default, except on loopback, that of `router keys`
    passed_paths: Paths = ()  # further paths (/v1/files), with all below, passed on with the upstream's key
    dial: Dial = DEFAULT_DIAL  # of `auto` without a number
    guard: bool = False  # ignore an unusual end of a query that changes its route
    deadline_s: Positive = 120.0  # from the arrival of a request until its decision or response, all attempts included
    attempts: Annotated[int, Whole(1, 20)] = 3  # upstreams tried for one request
    retry_share: Share = 0.2  # retries after failures, as a share of all requests
    retry_burst: Annotated[int, Whole(0, 1_000_000)] = 100  # retries that may be made at once
    breaker_failures: Annotated[int, Whole(1, 1000)] = 5  # failures in a row that open an upstream's breaker
    breaker_open_s: Positive = 5.0  # before the first probe
    load_weight: Share = 0.2  # most utility that load takes from an upstream
    session_threshold: Share = 0.03  # predicted utility given up to stay with a conversation's model
    session_ttl_s: Positive = 3600.0  # after which an idle session is forgotten
    max_sessions: Annotated[int, Whole(1, 100_000_000)] = 10_000  # remembered turns; each holds one number per model
    max_queue: Annotated[int, Whole(1, 10_000_000)] = 1024  # single queries that may wait for their decision
    max_batch_queue: Annotated[int, Whole(1, 10_000_000)] = 10_000  # queries of batches that may wait for theirs
    max_body_bytes: Annotated[int, Whole(1, 1_000_000_000)] = 20_000_000  # of a request's body
    max_depth: Annotated[int, Whole(1, 200)] = 64  # arrays and objects inside each other in a body
    body_timeout_s: Positive = 30.0  # until a request's body has arrived
    decision_log: Text | None = None  # SQLite file; without it decisions are not logged
    log_max_bytes: Annotated[int, Whole(16 * 2**20, 10**15)] = 1_000_000_000  # of the decision log
    log_max_age_days: Positive | None = None  # age at which a logged decision is deleted; None: never
    when_log_full: Literal["delete_oldest", "drop", "refuse"] = "delete_oldest"  # drop: new rows; refuse: requests
    store_prompts: bool = False  # False: the log holds an HMAC of each prompt
    drain_s: NotNegative = 30.0  # for requests in progress when the server stops

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


def read_settings(path: str | Path, flags: Mapping[str, Any], problems: list[str]) -> ServeSettings:
    """The settings in a pool file, overridden by `flags` that are not None; problems are added to `problems`."""
    path = Path(path)
    try:
        raw, _ = read_values(path)
    except ValueError:  # the reader of the pool reports it
        raw = {}
    section = raw.get("serve") if isinstance(raw, dict) else None
    given = read(ServeSettings, {} if section is None else section, "serve.", problems)
    return given.model_copy(update={name: value for name, value in flags.items() if value is not None})


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
