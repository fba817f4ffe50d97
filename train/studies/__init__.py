"""Studies of finished checkpoints: measurements, calibration, risk, onboarding, robustness, experiments."""
