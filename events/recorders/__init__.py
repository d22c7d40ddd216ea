"""Where stored events are kept: one recorder a database, all behind `events.recorders.port`."""
