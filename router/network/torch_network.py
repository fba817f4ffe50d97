"""Network for training in torch: heads that turn an embedding into a query vector, and the table of profiles.

`embedding (B, E) -> QueryVectors (B, D) -> logits (B, S)`. It knows no text, no names, no prices and no device.
`router.network.onnx_network` computes the same without torch. Axes: B queries, E embedding, H shared layer, T
prototypes, G categories, and those of `router.network.vectors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from router.network import scoring
from router.network.onnx_network import OnnxNetwork
from router.network.vectors import (
    ALWAYS_FAMILIAR,
    ARRAYS,
    CATEGORY_SCALE,
    MIDDLE,
    SHARPNESS,
    SHORTEST,
    Dimensions,
    LearnedProfiles,
    QueryVectors,
)

LEAST_LENGTH = 1e-4  # of a part about its mean; one that varies less was as good as constant in training
GAIN = 0.5  # logits that a level costs before training
FAMILIAR_QUANTILES = (0.5, 0.05)
STEEPEST = 8.0  # power of the kernel in familiarity; keeps it above 0 in float32


def standardisation(embedding: Tensor, parts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean (E,) of embeddings (N, E), and the scale (E,) that gives each of their parts a mean square length of 1.

    `parts` are the lengths of the parts. One that hardly varies gets a scale of 0. Vectors of a transformer's middle
    layers all point nearly the same way; uncentred, they look alike.

    >>> standardisation(torch.tensor([[1.0, 9.0], [1.0, 5.0]]), parts=[2])
    (tensor([1., 7.]), tensor([0.5000, 0.5000]))
    """
    centre = embedding.mean(dim=0)
    square = (embedding - centre).square().mean(dim=0)
    length = torch.stack([part.sum() for part in square.split(list(parts))]).sqrt()
    scale = torch.where(length > LEAST_LENGTH, 1 / length, 0.0)
    return centre, scale.repeat_interleave(torch.tensor(parts))


class _NoHead(nn.Module):
    """A head without outputs: (B, H) to (B, 0)."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, :0]


class Prototypes(nn.Module):
    """Likeness (B, L) of queries to prototypes and to categories, from the shared layer (B, H); 0 until it is fitted.

    A prototype is the mean of a cluster of training queries (no query is stored). A category is a kind of training
    query, predicted by a softmax. How systems did near prototypes and in categories is condensed to a few latent
    coordinates. Both fade with the distance to the nearest prototype: far from all of them only the named axes and the
    bias decide. `train.export.profiles` fits it.
    """

    centre: Tensor
    points: Tensor
    coordinates: Tensor
    familiar: Tensor
    fading: Tensor

    def __init__(self, hidden: int, prototypes: int, likeness: int, categories: int = 0) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(hidden))  # the mean of the training queries
        self.register_buffer("points", torch.zeros(prototypes, hidden))  # unit vectors from the centre
        self.register_buffer("coordinates", torch.zeros(prototypes + categories, likeness))
        self.register_buffer("familiar", torch.tensor(ALWAYS_FAMILIAR))  # kernels with familiarity 1 and 1/2
        self.register_buffer("fading", torch.tensor(ALWAYS_FAMILIAR))  # those at which categories count whole and half
        self.category = nn.Linear(hidden, categories) if categories else None

    def forward(self, hidden: Tensor) -> Tensor:
        found: Tensor = self.features(hidden) @ self.coordinates
        return found

    def features(self, hidden: Tensor) -> Tensor:
        """The kernel, then the probability of each category, (B, T + G).

        The probabilities are multiplied by CATEGORY_SCALE and fade as `fading` says.
        """
        near = self.kernel(hidden)
        if self.category is None:
            return near
        scale = CATEGORY_SCALE * _faded(near, self.fading)[:, None]
        return torch.cat([near, scale * self.category(hidden).softmax(dim=1)], dim=1)

    def kernel(self, hidden: Tensor) -> Tensor:
        """Nearness (B, T) of each prototype in (0, 1]: exp(SHARPNESS (cosine - 1)), the cosine about the centre."""
        direction = F.normalize(hidden - self.centre, dim=1, eps=SHORTEST)
        return (SHARPNESS * (direction @ self.points.T - 1)).exp()

    def familiarity(self, hidden: Tensor) -> Tensor:
        """Familiarity (B,) in (0, 1]: a power of the greatest kernel, 1 and 1/2 where `familiar` says, 1 until then."""
        return _faded(self.kernel(hidden), self.familiar)

    def fit_familiarity(self, hidden: Tensor) -> None:
        """Set where familiarity is 1 and 1/2: the median and the 5% quantile of the kernel on unseen rows (V, H).

        Categories fade alike.
        """
        usual, half = self.kernel(hidden).amax(dim=1).quantile(torch.tensor(FAMILIAR_QUANTILES).to(hidden))
        self.familiar.copy_(torch.stack([usual, torch.minimum(half, usual * 0.5 ** (1 / STEEPEST))]))
        self.fading.copy_(self.familiar)


def _faded(kernel: Tensor, ends: Tensor) -> Tensor:
    """The power (B,) of the greatest of the kernels (B, T) that is 1 and 1/2 at `ends` (2,); 1 above."""
    usual, half = ends.log()
    power = math.log(2) / (usual - half)
    return (power * (kernel.amax(dim=1).log() - usual)).clamp_max(0.0).exp()


@dataclass(frozen=True)
class JudgedVectors(QueryVectors):
    """Query vectors with the logits of the heads that labels train."""

    capability_logits: Tensor  # (B, C)
    knowledge_logits: Tensor  # (B, K)
    deviation: Tensor  # (B, P), logits off the shared difficulty


class QueryHeads(nn.Module):
    """Heads on one shared hidden layer: embeddings (B, E), centred and scaled, to `JudgedVectors`."""

    centre: Tensor
    scale: Tensor

    def __init__(self, size: Dimensions, dropout: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("centre", torch.zeros(size.embedding))
        self.register_buffer("scale", torch.ones(size.embedding))
        self.trunk = nn.Sequential(nn.Linear(size.embedding, size.hidden), nn.GELU(), nn.Dropout(dropout))
        self.capability = nn.Linear(size.hidden, size.capabilities)
        self.knowledge = nn.Linear(size.hidden, size.domains)
        self.residual = nn.Linear(size.hidden, size.residual, bias=False) if size.residual else _NoHead()
        self.prototypes = (
            Prototypes(size.hidden, size.prototypes, size.likeness, size.categories) if size.prototypes else _NoHead()
        )
        self.level = nn.utils.skip_init(nn.Linear, size.hidden, 1)
        nn.init.zeros_(self.level.weight)  # training starts from one level for all
        nn.init.constant_(self.level.bias, MIDDLE)
        self.gain = nn.Parameter(torch.full((size.protocols,), GAIN))  # logits that a level costs
        self.shift = nn.Parameter(torch.zeros(size.protocols))
        self.deviation = nn.Linear(size.hidden, size.protocols)
        self.length = nn.Linear(size.hidden, size.protocols)

    def fit_scale(self, embedding: Tensor, parts: Sequence[int]) -> None:
        """Set centre and scale by `standardisation` of embeddings (N, E)."""
        centre, scale = standardisation(embedding, parts)
        self.centre.copy_(centre)
        self.scale.copy_(scale)

    def forward(self, embedding: Tensor) -> JudgedVectors:
        return self.read(self.hidden(embedding))

    def hidden(self, embedding: Tensor) -> Tensor:
        """The shared layer (B, H) of embeddings (B, E)."""
        layer: Tensor = self.trunk((embedding - self.centre) * self.scale)
        return layer

    def read(self, hidden: Tensor) -> JudgedVectors:
        """Query vectors of the shared layer (B, H).

        Difficulty is an affine map of the level under each protocol, plus a deviation that fades with familiarity.
        """
        capability, knowledge = self.capability(hidden), self.knowledge(hidden)
        needs = [capability.softmax(dim=-1), knowledge.softmax(dim=-1)]
        level, deviation, familiarity = self.level(hidden), self.deviation(hidden), self.familiarity(hidden)
        difficulty = self.gain * (level - MIDDLE) + self.shift + familiarity[:, None] * deviation
        vector = torch.cat([*needs, self.residual(hidden), self.prototypes(hidden), difficulty], dim=-1)
        judged = (capability, knowledge, deviation)
        return JudgedVectors(vector, self.length(hidden), level[:, 0], familiarity, self.size, *judged)

    def familiarity(self, hidden: Tensor) -> Tensor:
        """Familiarity (B,) in (0, 1] of the shared layer (B, H); 1 without prototypes."""
        if isinstance(self.prototypes, Prototypes):
            return self.prototypes.familiarity(hidden)
        return torch.ones_like(hidden[:, 0])


class ProfileTable(nn.Module):
    """One row per system: weights on the axes, a bias, the usual answer length."""

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
        self.register_buffer("slope", torch.ones(size.systems))  # logits that a unit of difficulty costs
        # Means over the training rows, (S,): they set the scale of the cost dial for pools that are new after training.
        for name in ("mean_score", "mean_input_tokens", "mean_output_tokens"):
            self.register_buffer(name, torch.zeros(size.systems))

    def matrix(self) -> Tensor:
        """Profiles (S, D) in the query vector's layout; of the difficulty columns the system's own holds -slope."""
        found: Tensor = self.arrays(detached=False).matrix()
        return found

    def arrays(self, detached: bool = True) -> LearnedProfiles:
        """The rows as plain tensors that share memory with the parameters; gradients flow unless `detached`."""
        tensors = {name: getattr(self, name).detach() if detached else getattr(self, name) for name in ARRAYS}
        return LearnedProfiles(**tensors, protocols=self.protocols)

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
    """Heads and profiles: from embeddings (B, E) to `QueryVectors` and logits (B, S). It holds no encoder."""

    def __init__(self, size: Dimensions, protocol: Tensor, dropout: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.heads = QueryHeads(size, dropout)
        self.profiles = ProfileTable(size, protocol)

    def forward(self, embedding: Tensor) -> tuple[JudgedVectors, Tensor]:
        query = self.heads(embedding)
        return query, self.profiles.logits(query.vector)

    @classmethod
    def of_state(cls, size: Dimensions, state: Mapping[str, NDArray[Any]]) -> RouterNetwork:
        """The network with stored numbers, in evaluation mode; `state` must fit `size`."""
        with torch.random.fork_rng(devices=[]):  # drawing initial values must not change the caller's random numbers
            network = cls(size, torch.zeros(size.systems))
        network.load_state_dict({name: torch.from_numpy(each.copy()) for name, each in state.items()})
        return network.eval()

    @classmethod
    def of(cls, network: RouterNetwork | OnnxNetwork) -> RouterNetwork:
        """The network itself if it is a `RouterNetwork`, or one with the same numbers."""
        return network if isinstance(network, RouterNetwork) else cls.of_state(network.size, network.state_dict())

    @torch.no_grad()
    def query_vectors(self, embedding: Any) -> QueryVectors:
        """Query vectors of embeddings (B, E), an array or a tensor, on this network's device."""
        return self.heads(torch.as_tensor(embedding, device=self.profiles.bias.device))

    @property
    def learned(self) -> LearnedProfiles:
        """The profiles as plain tensors."""
        return self.profiles.arrays()

    def not_finite(self) -> list[str]:
        """Names of the tensors that hold infinities or NaNs."""
        state = self.state_dict().items()
        return [name for name, tensor in state if tensor.is_floating_point() and not tensor.isfinite().all()]
