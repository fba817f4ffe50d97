"""Baseline routers: fitted on training rows, tuned on validation rows, listed in `methods`."""
