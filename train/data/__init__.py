"""Rows of a data folder as tensors and batches: folds, taxonomy, weak labels, the data module."""
