"""Optimisation of a router: the Lightning module, losses, initial profiles, schedule, validation figures."""
