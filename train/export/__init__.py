"""From the best epoch of a training run to a checkpoint folder: calibration, prototypes, dial tables, model card."""
