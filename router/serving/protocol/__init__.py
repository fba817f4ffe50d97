"""Wire formats: OpenAI's requests, streams and errors."""
