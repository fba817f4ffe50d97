"""Routers to compare with: each fitted on training rows, tuned on validation rows, named in `methods`."""
