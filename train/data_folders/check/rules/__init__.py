"""Rules of the check, by what they look at."""
