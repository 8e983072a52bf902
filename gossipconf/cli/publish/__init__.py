"""Changes of values: what publishes them, proposes them, takes them back, and what they all share."""
