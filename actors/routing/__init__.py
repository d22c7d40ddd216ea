"""The pure turn engine and one file a pattern: no Ray, NATS, HTTP or clock in here."""
