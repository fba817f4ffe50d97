"""The tensors of the router: heads that turn a text embedding into a query vector, and the table of profiles.

`embedding (B, E) -> QueryVectors (B, D) -> logits (B, S)`. Knows no text, no names, no prices, no device.
Axes: B queries, E embedding, C capabilities, K knowledge domains, R latent residual, L likeness to prototypes,
P protocols, S systems, D = C + K + R + L + P. The last P columns carry each protocol's difficulty, so that logits stay
one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from router import scoring
from router.prototypes import Prototypes


@dataclass(frozen=True)
class Dimensions:
    """Axis sizes that fix every shape of a network."""

    embedding: int
    capabilities: int
    domains: int
    protocols: int
    systems: int
    residual: int = 0
    hidden: int = 384
    prototypes: int = 0
    likeness: int = 0
    categories: int = 0

    @property
    def named(self) -> int:
        """C + K, the axes that have a name."""
        return self.capabilities + self.domains

    @property
    def learned(self) -> int:
        """C + K + R, the axes on which profiles are trained by gradient."""
        return self.named + self.residual

    @property
    def columns(self) -> int:
        """C + K + R + L, the axes on which a system has a weight of its own."""
        return self.learned + self.likeness


@dataclass(frozen=True)
class QueryVectors:
    """What the network reads in B queries."""

    capability_logits: Tensor  # (B, C)
    knowledge_logits: Tensor  # (B, K)
    residual: Tensor  # (B, R)
    likeness: Tensor  # (B, L)
    difficulty: Tensor  # (B, P), in logits, one per protocol
    log_length: Tensor  # (B, P), log of the factor by which answers are longer than the system's usual

    @property
    def capability(self) -> Tensor:
        """(B, C) in [0, 1], rows sum to 1: how much the query needs each capability."""
        return self.capability_logits.softmax(dim=-1)

    @property
    def knowledge(self) -> Tensor:
        """(B, K) in [0, 1], rows sum to 1: how much the query touches each domain."""
        return self.knowledge_logits.softmax(dim=-1)

    @property
    def vector(self) -> Tensor:
        """(B, D): capability, knowledge, residual, likeness, difficulty."""
        return torch.cat([self.capability, self.knowledge, self.residual, self.likeness, self.difficulty], dim=-1)


def standardisation(embedding: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Mean of embeddings (N, E), and the scale (E,) that gives each of their `parts` a mean square length of 1.

    Vectors of a transformer's middle layers nearly all point the same way: as they are, they look alike.

    >>> standardisation(torch.tensor([[1.0, 9.0], [1.0, 5.0]]), parts=1)
    (tensor([1., 7.]), tensor([0.5000, 0.5000]))
    """
    centre = embedding.mean(dim=0)
    length = (embedding - centre).square().mean(dim=0).unflatten(0, (parts, -1)).sum(dim=1).sqrt()
    return centre, (1 / length.clamp_min(1e-6)).repeat_interleave(embedding.shape[1] // parts)


class _Nothing(nn.Module):
    """A head of no outputs: (B, H) to (B, 0)."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, :0]


class QueryHeads(nn.Module):
    """Embedding (B, E), centred and scaled, to `QueryVectors`, through one hidden layer shared by all heads."""

    centre: Tensor
    scale: Tensor

    def __init__(self, size: Dimensions, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size.embedding))
        self.register_buffer("scale", torch.ones(size.embedding))
        self.trunk = nn.Sequential(nn.Linear(size.embedding, size.hidden), nn.GELU(), nn.Dropout(dropout))
        self.capability = nn.Linear(size.hidden, size.capabilities)
        self.knowledge = nn.Linear(size.hidden, size.domains)
        self.residual = nn.Linear(size.hidden, size.residual, bias=False) if size.residual else _Nothing()
        self.prototypes = (
            Prototypes(size.hidden, size.prototypes, size.likeness, size.categories) if size.prototypes else _Nothing()
        )
        self.difficulty = nn.Linear(size.hidden, size.protocols)
        self.length = nn.Linear(size.hidden, size.protocols)

    def fit_scale(self, embedding: Tensor, parts: int) -> None:
        """Set centre and scale from embeddings (N, E) of an encoder that pools `parts` layers."""
        centre, scale = standardisation(embedding, parts)
        self.centre.copy_(centre)
        self.scale.copy_(scale)

    def forward(self, embedding: Tensor) -> QueryVectors:
        return self.read(self.hidden(embedding))

    def hidden(self, embedding: Tensor) -> Tensor:
        """The shared layer (B, H) of embeddings (B, E)."""
        layer: Tensor = self.trunk((embedding - self.centre) * self.scale)
        return layer

    def read(self, hidden: Tensor) -> QueryVectors:
        """What every head makes of the shared layer (B, H)."""
        return QueryVectors(
            self.capability(hidden),
            self.knowledge(hidden),
            self.residual(hidden),
            self.prototypes(hidden),
            self.difficulty(hidden),
            self.length(hidden),
        )


class ProfileTable(nn.Module):
    """One row per system: learned weights on the axes, a bias, and its usual answer length."""

    protocol: Tensor
    slope: Tensor
    mean_score: Tensor
    mean_input_tokens: Tensor
    mean_output_tokens: Tensor

    def __init__(self, size: Dimensions, protocol: Tensor) -> None:
        super().__init__()
        self.protocols = size.protocols
        self.weight = nn.Parameter(torch.zeros(size.systems, size.columns))
        self.bias = nn.Parameter(torch.zeros(size.systems))
        self.log_tokens = nn.Parameter(torch.zeros(size.systems))
        self.register_buffer("protocol", protocol.long())  # (S,)
        self.register_buffer("slope", torch.ones(size.systems))  # what a unit of difficulty costs the system
        # Means over the training rows, (S,): they set the scale of the cost dial for pools nobody trained on.
        for name in ("mean_score", "mean_input_tokens", "mean_output_tokens"):
            self.register_buffer(name, torch.zeros(size.systems))

    def matrix(self) -> Tensor:
        """Profiles (S, D) in the query vector's layout; the difficulty columns hold -slope at the own protocol."""
        own = nn.functional.one_hot(self.protocol, self.protocols).to(self.weight.dtype)
        return torch.cat([self.weight, -self.slope[:, None] * own], dim=1)

    def logits(self, vector: Tensor) -> Tensor:
        """Logits (B, S) of query vectors (B, D)."""
        return scoring.logits(vector, self.matrix(), self.bias)

    def output_tokens(self, log_length: Tensor) -> Tensor:
        """Expected answer tokens (B, S) from the queries' length factors (B, P)."""
        return torch.exp(log_length[:, self.protocol] + self.log_tokens)

    @torch.no_grad()
    def calibrate(self, scale: Tensor, shift: Tensor) -> None:
        """Fold the affine maps `scale * logit + shift`, (S,) each, into the rows."""
        self.weight.mul_(scale[:, None])
        self.slope.mul_(scale)
        self.bias.mul_(scale).add_(shift)


class RouterNetwork(nn.Module):
    """Heads and profiles: embedding (B, E) in, `QueryVectors` and logits (B, S) out. The encoder comes before it."""

    def __init__(self, size: Dimensions, protocol: Tensor, dropout: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.heads = QueryHeads(size, dropout)
        self.profiles = ProfileTable(size, protocol)

    def forward(self, embedding: Tensor) -> tuple[QueryVectors, Tensor]:
        query = self.heads(embedding)
        return query, self.profiles.logits(query.vector)
