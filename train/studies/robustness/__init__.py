"""Robustness suite: changes of the chosen model under harmless rewording and under adversarial suffixes."""
