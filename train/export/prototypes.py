"""Prototypes: means of clusters of training queries, and features of the nearness to them.

`train.export.profiles` fits profiles on these. Axes: N training rows, H shared layer, S systems, T prototypes, G
categories, A features, L likeness.
"""

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn import functional as F

from router.network.torch_network import Prototypes

FEWEST = 5  # queries in a cluster whose mean may be kept
LEAST_VARIANCE = 1e-6  # directions of the kernel with less variance are left out


def place_prototypes(prototypes: Prototypes, hidden: Tensor, seed: int) -> None:
    """Put the prototypes at the means of clusters of `hidden` (N, H), after centring it.

    A cluster of fewer than FEWEST queries gets none, so no prototype is a query; unused prototypes stay at 0.
    """
    centre = hidden.mean(dim=0)
    unit = F.normalize(hidden - centre, dim=1).numpy()
    most = min(len(prototypes.points), max(1, len(unit) // FEWEST))
    clusters = MiniBatchKMeans(most, n_init=1, random_state=seed, batch_size=4096, max_iter=20).fit(unit)
    sizes = np.bincount(clusters.labels_, minlength=most)
    means = torch.from_numpy(clusters.cluster_centers_[sizes >= FEWEST]).float()
    prototypes.centre.copy_(centre)
    prototypes.points.zero_()  # a point at 0 is equally near to all queries, so it has no effect
    prototypes.points[: len(means)] = F.normalize(means, dim=1)


def nystroem(prototypes: Prototypes, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, T' + G), and the map (T + G, T' + G) to them from `prototypes.features`.

    Inner products of the first T' approximate the kernel between queries: the map is the inverse root of the kernel
    between the prototypes. The last G are the categories' as they are.
    """
    between = prototypes.kernel(prototypes.points + prototypes.centre).double()
    variance, directions = torch.linalg.eigh(between)
    kept = variance > LEAST_VARIANCE
    root = (directions[:, kept] * variance[kept].rsqrt()).float()
    root = torch.block_diag(root, torch.eye(len(prototypes.coordinates) - len(root)))
    return prototypes.features(hidden) @ root, root


def reduced(features: Tensor, weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (A, L) and (S, L) of `weight` (A, S) whose logits on `features` (N, A) differ least from its own."""
    _, scale, right = torch.linalg.svd(features @ weight, full_matrices=False)
    rows = right[:rank].T  # (S, L), orthonormal
    coordinates = weight @ rows
    deviation = (scale[:rank] / len(features) ** 0.5).clamp_min(1e-12)  # every coordinate gets a mean square of 1
    missing = rank - rows.shape[1]
    return F.pad(coordinates / deviation, (0, missing)), F.pad(rows * deviation, (0, missing))
