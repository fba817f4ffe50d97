"""Onboarding: a new model joins a trained checkpoint, by a profile fitted from few graded answers."""

from router.onboarding.add_model import forget, onboard
from router.onboarding.graded_answers import Answers, make_answers, read_answers

__all__ = ["Answers", "forget", "make_answers", "onboard", "read_answers"]
