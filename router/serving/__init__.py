"""A router in front of traffic: an engine for asyncio, a decision service and an OpenAI-compatible gateway.

Each module imports what it needs of the extra `serve` itself; importing this package loads nothing.
"""
