"""`python -m train check DIR`: what is wrong with a data folder, found by statistics, one kind of finding per file."""
