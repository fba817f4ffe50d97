"""HTTP: the ASGI application, its endpoints and its server."""
