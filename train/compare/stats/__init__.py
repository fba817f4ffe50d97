"""Statistics of a comparison: figures of each method, their bootstrap draws, tests and the tidy table."""
