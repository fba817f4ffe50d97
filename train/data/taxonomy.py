"""Knowledge axes of a `Taxonomy` from open-ended domain names: embed, merge by cosine, drop the rare.

InferenceDynamics (2505.16303), docs/method.md section 1. Knows names and their counts, no queries and no encoder.
Axes: P phrases, E embedding.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from router.network.taxonomy import OTHER, Taxonomy

Embed = Callable[[list[str]], NDArray[np.float32]]


def consolidate(names: Mapping[str, int], embed: Embed, threshold: float = 0.7, minimum: int = 10) -> Taxonomy:
    """The taxonomy of `names` (raw domain name -> number of occurrences).

    The most frequent name comes first, equals in alphabetical order. A name joins the most frequent earlier domain
    whose cosine with it is above `threshold`; without one it becomes a domain itself. Merging is not transitive: a
    chain of neighbours does not collapse into one domain. A domain with fewer than `minimum` occurrences in total, all
    merged names included, becomes `other`.

    The axes are in alphabetical order, upper and lower case alike, and `other` is always the last: new data inserts
    axes but never shuffles them. `aliases` holds every name that was merged or is too rare.

    Args:
        names: counts of raw names.
        embed: phrases to embeddings (P, E), of any length; called once, with the names in alphabetical order.
        threshold: cosine above which two names are one domain.
        minimum: smallest total count of a domain.

    >>> vectors = {"Law": [1.0, 0.0], "Contract Law": [0.8, 0.6], "Music": [0.0, 1.0], "Philately": [-1.0, 0.0]}
    >>> counts = {"Law": 9, "Contract Law": 2, "Music": 12, "Philately": 1}
    >>> taxonomy = consolidate(counts, lambda phrases: np.array([vectors[p] for p in phrases]))
    >>> taxonomy.domains, taxonomy.aliases
    (('Law', 'Music', 'other'), {'Contract Law': 'Law', 'Philately': 'other'})
    """
    merged = merge_names({name: n for name, n in names.items() if name != OTHER}, embed, threshold)
    total: dict[str, int] = {}
    for name, domain in merged.items():
        total[domain] = total.get(domain, 0) + names[name]
    kept = {domain for domain, n in total.items() if n >= minimum}
    aliases = {name: domain if domain in kept else OTHER for name, domain in merged.items() if name not in kept}
    return Taxonomy((*sorted(kept, key=lambda domain: (domain.casefold(), domain)), OTHER), aliases)


def merge_names(names: Mapping[str, int], embed: Embed, threshold: float) -> dict[str, str]:
    """The domain of each name, most frequent names first; a domain's own name is its domain."""
    if not names:
        return {}
    phrases = sorted(names)
    vectors = np.asarray(embed(phrases), np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    alike = vectors @ vectors.T > threshold
    domains: list[int] = []
    merged: dict[str, str] = {}
    for i in sorted(range(len(phrases)), key=lambda p: (-names[phrases[p]], phrases[p])):
        domain = next((d for d in domains if alike[i, d]), i)
        if domain == i:
            domains.append(i)
        merged[phrases[i]] = phrases[domain]
    return merged
