"""Which tools a rehearsing model calls: those that the user tells it to use.

`use files__read_file {"path": "a.txt"}` is one call. Several are made at once, and those from a
`then use` on when the results of those before are there. Without arguments some are made up that
fit the tool. Then it answers with what came of all of them. A tool whose name, or every word of it,
stands in the message is called too. Where one has to be called and none is told, it is the first
that was not called yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from json import JSONDecodeError, JSONDecoder
from typing import Final, NamedTuple

from actors.providers.port import ChatMessage, ChatRequest, Tool
from events.values import ToolCall

LONGEST_QUOTE: Final = 2000  # characters of a result

_USE = re.compile(
    r"\b(?P<then>then\s+)?use\s+(?:the\s+tool\s+)?`?(?P<name>[A-Za-z0-9][\w.:-]{0,127})`?"
    r"(?:\s+with)?\s*(?P<given>\{)?",
    re.IGNORECASE,
)

Fill = Callable[[Tool], str]
"""Makes up the arguments of a call, as JSON text."""


class Wish(NamedTuple):
    """A call that the user wants; without `arguments`, some are made up."""

    name: str
    arguments: str | None


def calls_of(request: ChatRequest, asked: str, id: str, fill: Fill) -> tuple[ToolCall, ...]:
    """What is called now; `asked` is the user's last message, `id` how ids of calls begin."""
    if not request.tools or request.tool_choice == "none":
        return ()
    before = _rounds(request.messages)
    done = len(before)
    rounds = wishes(asked, request.tools)
    if not rounds and not done and (tool := _named_in(asked, request.tools)):
        rounds = [[Wish(tool.name, None)]]
    if done < len(rounds) and (done or request.messages[-1].role == "user"):
        now = rounds[done]
    elif request.tool_choice == "required":
        now = [_any(request.tools, before)]
    else:
        return ()
    tools = {tool.name: tool for tool in request.tools}
    return tuple(
        ToolCall(
            id=id if not n else f"{id}_{n}",
            name=wish.name,
            arguments=fill(tools[wish.name]) if wish.arguments is None else wish.arguments,
        )
        for n, wish in enumerate(now)
    )


def wishes(asked: str, tools: Sequence[Tool]) -> list[list[Wish]]:
    """The calls that the text wants, round by round.

    What is offered may be named without its server; another name with two underscores is called
    all the same where arguments are given, as models do that misremember.
    """
    rounds: list[list[Wish]] = []
    for found in _USE.finditer(asked):
        arguments = _arguments(asked[found.start("given") :]) if found["given"] else None
        name = _offered(found["name"].rstrip("."), tools)
        if name is None and "__" in found["name"] and arguments is not None:
            name = found["name"]
        if name is None:
            continue
        if not rounds or found["then"]:
            rounds.append([])
        rounds[-1].append(Wish(name, arguments))
    return rounds


def report(request: ChatRequest, asked: str) -> str | None:
    """What came of the calls that the user wanted; None where none was wanted or made."""
    rounds = _rounds(request.messages)
    if not rounds or not wishes(asked, request.tools):
        return None
    told = {message.tool_call_id: message.content for message in request.messages}
    lines = [
        f"{call.name} returned: {told.get(call.id, 'nothing')[:LONGEST_QUOTE]}"
        for message in rounds
        for call in message.tool_calls
    ]
    return "\n\n".join(["This is a rehearsal, in which I called tools.", *lines])


def _rounds(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages that asked for calls since the user said something."""
    last = max((n for n, message in enumerate(messages) if message.role == "user"), default=-1)
    return [message for message in messages[last + 1 :] if message.tool_calls]


def _any(tools: Sequence[Tool], before: Sequence[ChatMessage]) -> Wish:
    """A call of the first tool that was not called before; where all were, of the first."""
    called = {call.name for message in before for call in message.tool_calls}
    return Wish(next((one.name for one in tools if one.name not in called), tools[0].name), None)


def _arguments(text: str) -> str:
    """The JSON at the beginning of the text; what is none is taken as it is, to its line's end."""
    try:
        _, end = JSONDecoder().raw_decode(text)
    except (JSONDecodeError, RecursionError):
        return text.splitlines()[0]
    return text[:end]


def _offered(name: str, tools: Sequence[Tool]) -> str | None:
    """The offered tool that is meant by `server__tool`, `server:tool` or `tool`."""
    names = [tool.name for tool in tools]
    meant = name.replace(":", "__")
    if meant in names:
        return meant
    return next((each for each in names if each.endswith(f"__{meant}")), None)


def _named_in(asked: str, tools: Sequence[Tool]) -> Tool | None:
    """The first tool whose name, or every word of it, stands in what the user has asked."""
    words = set(re.findall(r"\w+", asked.casefold()))
    for tool in tools:
        parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", tool.name)
        if tool.name.casefold() in words or {part.casefold() for part in parts} <= words:
            return tool
    return None
