"""An LLM names the capabilities and knowledge domains that queries need: `python -m train annotate`."""
