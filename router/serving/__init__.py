"""Serving: an asyncio engine, decision endpoints and an OpenAI-compatible gateway in front of a pool of models.

Each module imports what it needs of the extra `serve`; importing the packages loads nothing.
"""
