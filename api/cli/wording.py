"""What the API says to those who send requests, said to those who type commands."""

from __future__ import annotations

HINTS = {
    "create it with POST /v1/sessions, or list those that exist with GET /v1/sessions": (
        "'control-room sessions' lists those that exist, 'control-room chat' begins one"
    ),
    "change that one with PATCH, or choose another session_id": (
        "go on with that one by leaving out --new, or choose another id"
    ),
    "send 'Authorization: Bearer TOKEN' with the value of CONTROL_ROOM_TOKEN": (
        "set CONTROL_ROOM_TOKEN to the one that the room was started with"
    ),
    "send the same request again later, with the Idempotency-Key of this answer": (
        "look with 'control-room tools', and try again"
    ),
    "send the same request again, with the Idempotency-Key of this answer": (
        "look with 'control-room show' or 'control-room sessions' before you try again"
    ),
}
"""What to do, as the API has it and as the command line has it."""


def in_commands(message: str) -> str:
    """`message` with its hints in commands and flags."""
    for request, command in HINTS.items():
        message = message.replace(request, command)
    return message
