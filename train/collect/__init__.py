"""Collection of graded answers: a pool of models runs over queries (`python -m train collect`)."""
