"""Who acts: model, router, tool server, workflow; and what carries them (NATS, Ray)."""
