"""Grading of LLM answers: final answers, comparison with a reference, an LLM judge."""
