"""Query router: sends each query to the language model that answers it best for the money, and says why.

    queries → encoder → query vectors (B, D) → profiles → quality (B, M) → policy (quality, cost) → Decision

>>> from router import Router
>>> router = Router.from_pretrained("checkpoints/routemix")  # doctest: +SKIP
>>> router.route("Prove that the square root of two is irrational.").model  # doctest: +SKIP

Names load on first use, so that importing the package costs nothing that is not used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from router.errors import (
    CheckpointError,
    DataError,
    NoCandidateError,
    PoolError,
    QueryError,
    RouterError,
    UsageError,
)

if TYPE_CHECKING:
    from router.network.taxonomy import Taxonomy
    from router.policy.decision import Decision
    from router.pools.models import ModelFacts
    from router.pools.pool import Pool
    from router.routing.router import Router

__all__ = [
    "Router",
    "Decision",
    "Pool",
    "ModelFacts",
    "Taxonomy",
    "RouterError",
    "CheckpointError",
    "DataError",
    "NoCandidateError",
    "PoolError",
    "QueryError",
    "UsageError",
]

_HOME = {
    "Router": "router.routing.router",
    "Decision": "router.policy.decision",
    "Pool": "router.pools.pool",
    "ModelFacts": "router.pools.models",
    "Taxonomy": "router.network.taxonomy",
}


def __getattr__(name: str) -> Any:
    """A public name from its module, or the installed version (PEP 562)."""
    if name == "__version__":
        return _installed_version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up finds it at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _installed_version() -> str:
    """The distribution's version; `0+source` where the folder is imported without an installation."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("inferencedynamics")
    except PackageNotFoundError:
        return "0+source"
