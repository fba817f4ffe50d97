"""Comparison of baselines and our routers on the same bootstrap draws: `python -m train compare`."""
