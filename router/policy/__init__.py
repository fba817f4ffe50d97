"""Policy: from predicted quality and cost to decisions."""
