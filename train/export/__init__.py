"""Checkpoint export after training: calibration, prototypes, dial tables, model card."""
