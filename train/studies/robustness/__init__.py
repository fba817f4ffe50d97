"""Robustness suite: how choices move under harmless rewording and under a suffix made to move them."""
