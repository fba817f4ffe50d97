"""Runs a pool of models over queries and grades what they answer: `python -m train collect`."""
