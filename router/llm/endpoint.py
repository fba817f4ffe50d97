"""LLM endpoint: address, model name, prices, rate limits, and where its key is (a variable or a file, never the key).

Limits have the names of `upstream.limits` in a pool file; other names there are for the gateway and are skipped.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.errors import UsageError
from router.pools.pool import RATE_LIMITS, Candidate
from router.pools.schema import Address, Variable
from router.pools.upstream_keys import read_key_file
from router.validation import NotNegative, Positive, check

USUAL_PARALLEL = 16
CHECKED = {"base_url": Address, "key_env": Variable, "timeout_s": Positive, "deadline_s": Positive}
CHECKED |= {"input price": NotNegative, "output price": NotNegative}


@dataclass(frozen=True)
class Endpoint:
    """One model at one base URL."""

    base_url: str  # `/chat/completions` is added to it
    model: str  # what the endpoint calls it
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    key_env: str | None = None  # environment variable that holds the key; None: no key is sent
    timeout_s: float = 60.0  # for one request
    deadline_s: float = 900.0  # for one question with all its retries
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    key_file: str | None = None  # instead of key_env

    @property
    def url(self) -> str:
        """URL of chat completions."""
        return self.base_url.rstrip("/") + "/chat/completions"

    @property
    def parallel(self) -> int:
        """Largest number of requests under way at once."""
        return max(1, int(self.limits.get("concurrency", USUAL_PARALLEL)))

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """USD of one answer."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6

    def key(self) -> str | None:
        """The key in `key_file` or the variable `key_env`, None without both; UsageError where none can be used."""
        if self.key_file is not None:
            try:
                return read_key_file(Path(self.key_file))
            except UsageError as error:
                raise UsageError(f"the key of {self.model} cannot be read from {error}") from error
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise UsageError(
                f"the key of {self.model} is read from the environment variable {self.key_env}, which is not set or "
                f"empty: export {self.key_env}=... in this shell, or name another variable"
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"the variable {self.key_env} holds no key: it has a character that no header may have")
        return key


def make_endpoint(base_url: str, model: str, prices: tuple[float, float], **settings: Any) -> Endpoint:
    """A checked endpoint from a user's settings, which are fields of Endpoint; UsageError names a wrong one."""
    given = {"base_url": base_url} | {name: value for name, value in settings.items() if value is not None}
    named = given | dict(zip(("input price", "output price"), prices, strict=True))
    for name, kind in CHECKED.items():
        if name in named:
            try:
                check(kind, named[name])
            except ValueError as error:
                raise UsageError(f"{name} of {model}: {error}") from error
    limits = given.get("limits", {})
    unknown = sorted(set(limits) - set(RATE_LIMITS))
    if unknown or any(value <= 0 for value in limits.values()):
        raise UsageError(f"limits of {model}: got {dict(limits)}; allowed are {', '.join(RATE_LIMITS)}, each above 0")
    return Endpoint(model=model, input_usd_per_mtok=prices[0], output_usd_per_mtok=prices[1], **given)


def endpoint_of(candidate: Candidate, default_key_env: str | None = None) -> Endpoint:
    """The endpoint of a pool's entry, from its `upstream:` and prices; UsageError where it has no upstream."""
    facts, upstream = candidate.facts, candidate.upstream
    if upstream is None:
        raise UsageError(
            f"entry {candidate.id} of the pool has no upstream: add "
            "upstream: {api_base: https://..., model: ..., key_env: NAME_OF_A_VARIABLE}"
        )
    return Endpoint(
        upstream.api_base,
        upstream.model,
        float(facts.input_usd_per_mtok or 0.0),
        float(facts.output_usd_per_mtok or 0.0),
        upstream.key_env or (None if upstream.key_file else default_key_env),
        upstream.timeout_s,
        limits={name: upstream.limits[name] for name in RATE_LIMITS if name in upstream.limits},
        key_file=upstream.key_file,
    )
