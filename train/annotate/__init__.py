"""Annotation of queries by LLMs with capabilities and knowledge domains: `python -m train annotate`."""
