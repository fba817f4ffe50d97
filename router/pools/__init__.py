"""Candidate models: their facts, systems and upstreams, and named pools of them."""
