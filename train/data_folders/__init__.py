"""Data folders in RouteMix-open's format: built, checked, invented, and the files of queries they come from."""
