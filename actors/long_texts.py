"""What reads texts that lie beside the log, and is therefore done beside the event loop."""

from __future__ import annotations

from events.runs import RunCalled, RunCompleted
from events.session import Session
from events.types import (
    Input,
    ModelAnswered,
    ModelAsked,
    ModelReasked,
    Payload,
    Retry,
    ToolReturned,
    TurnQueued,
    TurnStarted,
)
from events.values import Blob, Message


def of_input(data: Input) -> bool:
    """Whether the machine reads long texts for this input; a retry may repeat a long question."""
    match data:
        case ModelAnswered(text=text, reasoning=reasoning):
            return isinstance(text, Blob) or isinstance(reasoning, Blob)
        case ToolReturned(text=text, structured=structured):
            return isinstance(text, Blob) or isinstance(structured, Blob)
        case RunCompleted(output=Blob()) | RunCalled(arguments=Blob()) | TurnStarted(retry=Retry()):
            return True
        case TurnStarted(message=message) | TurnQueued(message=message):
            return of_message(message)
        case _:
            return False


def of_message(message: Message | None) -> bool:
    """Whether a turn that answers this message reads long texts when it starts."""
    return message is not None and (isinstance(message.content, Blob) or bool(message.tools))


def of_request(session: Session, asked: Payload) -> bool:
    """Whether building the request reads long texts; a repeated one is built like the first."""
    if isinstance(asked, ModelReasked) or isinstance(getattr(asked, "instruction", None), Blob):
        return True
    if isinstance(asked, ModelAsked) and (asked.continues or asked.given):
        return True
    return any(entry.beside for entry in session.entries)
