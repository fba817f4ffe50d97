"""Data folders in RouteMix-open's format: built, checked, or synthetic; and query files."""
