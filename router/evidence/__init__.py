"""Statistical guarantees for a router: settings whose loss is bounded with high probability."""
