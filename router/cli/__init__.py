"""Command line `router`: one module per command."""
