"""What it means: views folded from the log, and the runner that follows it."""
