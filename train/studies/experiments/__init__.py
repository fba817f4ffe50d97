"""The project's first experiments, one module each: `python -m train experiment NAME`."""
