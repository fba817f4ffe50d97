"""Readers of published outcomes, one per format."""
