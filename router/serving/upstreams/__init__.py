"""Upstreams: HTTP clients of the models' providers, circuit breakers, load and failover."""
