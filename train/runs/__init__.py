"""Training runs: the Weights & Biases logger, a reader of runs, their comparison, sweeps."""
