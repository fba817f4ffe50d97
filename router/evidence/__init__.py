"""Statistical evidence about a router: which setting provably loses little."""
