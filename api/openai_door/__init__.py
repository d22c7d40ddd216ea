"""The room as an OpenAI-compatible server: rooms, sessions and participants are model names."""
