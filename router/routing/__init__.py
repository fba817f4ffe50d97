"""Routing: the `Router`, and the pipeline from queries to decisions."""
