"""Asks OpenAI-compatible endpoints many questions: paced, capped in cost, and never the same one twice."""
