"""What holds for every test: no network, no prompts, no CUDA surprises. Set before anything reads it at import."""

from __future__ import annotations

import os

# Defaults, so that `HF_HUB_OFFLINE=0 pytest -m network` can reach out.
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a hub id without a network retries for 70 s
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # otherwise tokenizers warns after every fork

pytest_plugins = ["fixtures.not_run", "fixtures.network", "fixtures.checkpoints", "fixtures.tiny_encoders"]
