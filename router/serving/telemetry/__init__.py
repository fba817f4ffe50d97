"""Telemetry: metrics, log formats and the decision log."""
