"""Dispatch: the order in which models are tried, and sessions that stay with their model."""
