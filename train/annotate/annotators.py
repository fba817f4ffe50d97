"""Annotators: LLMs with an endpoint, a name in the output and a share of the queries, from options or a pool file."""

from __future__ import annotations

import hashlib
import string
from argparse import Namespace
from dataclasses import dataclass

from router.errors import UsageError
from router.llm.endpoint import Endpoint, endpoint_of, make_endpoint
from router.pools.pool import read_pool
from router.pools.schema import RATE_LIMITS
from train.data_folders.query_file import QueryRow


@dataclass(frozen=True)
class Annotator:
    """LLM that annotates. Training reads the labels of `llm-a`; the other annotators measure agreement."""

    name: str
    endpoint: Endpoint
    share: float  # of the queries

    def reads(self, row: QueryRow) -> bool:
        """Whether the query is in its share, which is the same in every run."""
        return int(hashlib.sha256(row.query_id.encode()).hexdigest()[:8], 16) < self.share * 16**8


def annotators_of(options: Namespace) -> list[Annotator]:
    """The annotators that the options name; UsageError or PoolError where they are not usable."""
    if not 0 < options.share <= 1:
        raise UsageError(f"--share is a part of the queries, above 0 and at most 1, got {options.share:g}")
    if options.annotators:
        pool = read_pool(options.annotators, None)
        endpoints = [endpoint_of(candidate, options.key_env) for candidate in pool.candidates]
    else:
        endpoints = _from_options(options)
    if len(endpoints) > len(string.ascii_lowercase):
        raise UsageError(f"at most {len(string.ascii_lowercase)} annotators, got {len(endpoints)}")
    shares = [1.0] + [options.share] * (len(endpoints) - 1)
    letters = string.ascii_lowercase[: len(endpoints)]
    return [Annotator(f"llm-{letter}", *each) for letter, *each in zip(letters, endpoints, shares, strict=True)]


def _from_options(options: Namespace) -> list[Endpoint]:
    if not options.model or not options.base_url:
        raise UsageError("name who annotates: --model ID --base-url URL, or --annotators POOL.yaml")
    limits = {name: value for name in RATE_LIMITS if (value := getattr(options, name)) is not None}
    prices = [_each(options, name) for name in ("price_in", "price_out")]
    return [
        make_endpoint(options.base_url, model, price, key_env=options.key_env, timeout_s=options.timeout, limits=limits)
        for model, price in zip(options.model, zip(*prices, strict=True), strict=True)
    ]


def _each(options: Namespace, name: str) -> list[float]:
    """A price for each model: as many as there are, or one for all."""
    flag, given, models = f"--{name.replace('_', '-')}", getattr(options, name) or [], options.model
    if len(given) == 1:
        return given * len(models)
    if len(given) != len(models):
        raise UsageError(
            f"{flag} is USD per million tokens, once for all or once for each --model: got {len(given)} for "
            f"{len(models)} models. Write 0 for an endpoint of your own"
        )
    return list(given)
