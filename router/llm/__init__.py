"""Client for OpenAI-compatible endpoints: rate-limited, capped in cost, with a cache of every paid answer."""
