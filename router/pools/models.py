"""Facts of a model (prices, context window, input kinds), and systems: models under a protocol.

A protocol is how a model is prompted and graded. Plain data, no tensors and no files; the learned numbers of a system
are a row of `router.network.torch_network.ProfileTable`. Axis: M models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import PoolError, known_names

MODALITIES = ("text", "image", "audio", "video")


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one model, which are not learned and may be edited; None means unknown."""

    id: str
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    price_date: str | None = None  # ISO date or month when the prices were read
    context_window: int | None = None  # tokens, prompt and answer together
    modalities: tuple[str, ...] = ("text",)  # of the input, from MODALITIES
    tools: bool | None = None  # whether it can call tools
    tags: tuple[str, ...] = ()

    @property
    def priced(self) -> bool:
        """Whether a cost can be computed."""
        return self.input_usd_per_mtok is not None and self.output_usd_per_mtok is not None

    def to_json(self) -> dict[str, Any]:
        """A JSON object without unknown or empty fields."""
        raw = {
            "id": self.id,
            "input_usd_per_mtok": self.input_usd_per_mtok,
            "output_usd_per_mtok": self.output_usd_per_mtok,
            "price_date": self.price_date,
            "context_window": self.context_window,
            "modalities": list(self.modalities),
            "tools": self.tools,
            "tags": list(self.tags),
        }
        return {key: value for key, value in raw.items() if value is not None and value != []}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> ModelFacts:
        """Inverse of `to_json`; unknown keys raise TypeError."""
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        return cls(**fields)


def context_windows(models: Sequence[ModelFacts]) -> NDArray[np.float64]:
    """Tokens (M,) that each model may read and write together; infinity where that is unknown."""
    return np.array([np.inf if m.context_window is None else m.context_window for m in models], np.float64)


@dataclass(frozen=True, order=True)
class System:
    """A model under a protocol: it has scores, and queries are routed to it."""

    model: str
    protocol: str

    @property
    def id(self) -> str:
        """`model@protocol`, needed only where the model's name alone is ambiguous."""
        return f"{self.model}@{self.protocol}"


def resolve_system(name: str, systems: Iterable[System], protocol: str | None = None) -> System:
    """The system of a model name, of a `model@protocol` id, or of a model name within `protocol`.

    Raises PoolError when nothing or more than one system fits.

    >>> resolve_system("a", [System("a", "chat"), System("b", "chat")])
    System(model='a', protocol='chat')
    """
    systems = tuple(systems)
    exact = [s for s in systems if s.id == name]
    if exact:
        return exact[0]
    fitting = [s for s in systems if s.model == name and protocol in (None, s.protocol)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        ids = ", ".join(s.id for s in fitting)
        raise PoolError(f"model {name!r} is known under several protocols: write one of {ids}, or name a pool")
    known = known_names(name, {s.model for s in systems if protocol in (None, s.protocol)})
    where = f" under protocol {protocol!r}" if protocol else ""
    raise PoolError(f"no profile for model {name!r}{where}; {known}")
