"""`python -m train experiment NAME`: the project's first experiments, one command each."""
