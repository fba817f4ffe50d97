"""Studies of finished checkpoints: measurements, dials, risk, onboarding, robustness, reading."""
