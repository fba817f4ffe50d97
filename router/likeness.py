"""How near a query is to what was seen in training: to prototypes, and to the kinds of training queries.

Pure functions of arrays; `router.prototypes` holds the numbers that training fits, `router.served_network` those that
serving reads. Axes: B queries, H shared layer, T prototypes, G categories.
"""

from __future__ import annotations

from router.arrays import Array, concat, namespace, softmax

SHARPNESS = 4.0  # of the kernel; at a cosine of 0 a prototype still counts exp(-4) = 1.8% of one that is hit
CATEGORY_SCALE = 0.5  # of the probability of a category; the smaller, the harder its weights are drawn to 0
SHORTEST = 1e-12  # length below which a vector has no direction


def kernel(hidden: Array, centre: Array, points: Array) -> Array:
    """How near `points` (T, H), unit rows seen from `centre` (H,), are to `hidden` (B, H).

    (B, T) in (0, 1]: exp(SHARPNESS (cosine - 1)).
    """
    xp = namespace(hidden)
    seen = hidden - centre
    length = xp.linalg.vector_norm(seen, axis=1, keepdims=True)
    return xp.exp(SHARPNESS * (seen / xp.clip(length, SHORTEST) @ points.T - 1))


def with_categories(near: Array, logits: Array) -> Array:
    """The kernel `near` (B, T) and behind it the probability of each category by `logits` (B, G), (B, T + G).

    Probabilities are scaled by CATEGORY_SCALE and the root of the greatest kernel value.
    """
    xp = namespace(near)
    scale = CATEGORY_SCALE * xp.max(near, axis=1, keepdims=True) ** 0.5
    return concat([near, scale * softmax(logits)], axis=1)
