"""Rows of a data folder as tensors and batches: folds, taxonomy, weak labels, rewordings, the data module."""
