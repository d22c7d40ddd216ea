"""The whole room, or a good part of it, on real servers."""
