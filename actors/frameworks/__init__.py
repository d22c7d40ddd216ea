"""Workflows of other frameworks on the models and tools of a run; one module a framework.

A framework reaches models and tools only through the room's own doors. `port` says what a
framework is, `registry` which there are, `execution` runs one from plain JSON to plain JSON, and
`environments` makes the Python environments of those that need their own.

What is imported in such an environment (`port`, `execution`, `tool_door` and the framework's own
modules) may use nothing but the standard library, pydantic and what its lock holds.
"""
