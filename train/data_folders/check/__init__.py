"""Check of a data folder by statistics: `python -m train check DIR`."""
