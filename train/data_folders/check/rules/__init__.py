"""Rules of the check, one kind of finding per file."""
