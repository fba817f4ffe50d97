"""Synthetic data folder with planted truth: invented models, queries from templates, drawn outcomes."""
