"""Fixtures of the commands on new models."""

from fixtures.onboarding_command import router, run, saved

__all__ = ["router", "run", "saved"]
