"""Batch routing: lines, files and corpora of queries, one record per query."""
