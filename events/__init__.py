"""What happened: event types, session state, store, hash chain, codec, errors."""
