"""Tool servers: their configuration, the connection to one, its actor, and what they offer."""
