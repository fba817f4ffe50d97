"""Maximum inner product search in large pools: the few candidates that are worth scoring for a query."""
