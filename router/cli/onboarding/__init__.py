"""Commands on new models: which queries to grade, onboarding from answers or scores, and both in one command."""
