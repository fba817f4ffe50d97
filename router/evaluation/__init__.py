"""Evaluation of routers on recorded outcomes: the data-folder format, metrics, and a report for one pool."""
