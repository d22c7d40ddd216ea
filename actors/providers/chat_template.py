"""Renders a conversation by a chat template, where a server takes text and not messages.

The template is Jinja2 as Hugging Face has it: it sees `messages`, `tools`, `add_generation_prompt`,
`bos_token` and `eos_token`, and may call `raise_exception(text)`. It comes from whoever set up the
session, so it runs in a sandbox, and what it takes is bounded: its steps (turns of a loop, calls),
its output, the length of the texts that it joins, and the numbers that it hands to a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson

from actors.providers.chat_completions import tool_of
from actors.providers.port import ChatMessage, ChatRequest
from events.errors import ProviderError

if TYPE_CHECKING:
    from jinja2 import Template

LONGEST_PROMPT: Final = 4 * 1024 * 1024  # characters
MOST_STEPS: Final = 200_000
LARGEST_NUMBER: Final = 100_000  # that is handed to a function or filter
KEPT: Final = 64  # compiled templates

CHATML: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""A template that many models know."""

_steps: ContextVar[int] = ContextVar("steps", default=0)
_WIDE = re.compile(r"%[^a-zA-Z%]*(\*|\d{5,})")


class TemplateRefused(Exception):
    """What the template does is refused, or it refuses the conversation itself."""


def render(template: str, request: ChatRequest, *, bos_token: str = "", eos_token: str = "") -> str:
    """The prompt that asks for the next message of the conversation.

    Raises `ProviderError` where the template is wrong, refuses the conversation, or takes too much.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    _steps.set(0)
    parts, size = [], 0
    try:
        for part in _compiled(template).generate(
            messages=[_message(message) for message in request.messages],
            tools=[tool_of(tool) for tool in request.tools] or None,
            add_generation_prompt=True,
            bos_token=bos_token,
            eos_token=eos_token,
            raise_exception=_raise_exception,
        ):
            parts.append(part)
            size += len(part)
            if size > LONGEST_PROMPT:
                raise TemplateRefused(f"its output has more than {LONGEST_PROMPT} characters")
    except TemplateSyntaxError as error:
        raise _failed(f"line {error.lineno}: {error.message}") from None
    except TemplateRefused as error:
        raise _failed(str(error)) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _failed(f"{type(error).__name__}: {error}") from None
    except (AttributeError, AssertionError, RecursionError, MemoryError, SyntaxError) as error:
        raise _failed(type(error).__name__) from None
    return "".join(parts)


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a tool call as an object; empty where the model wrote none."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_of(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def _failed(why: str) -> ProviderError:
    return ProviderError(
        f"the chat_template cannot be used: {why[:400]}. Correct it or leave it out"
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefused(f"it refuses the conversation: {message}")


# --- bounds ---------------------------------------------------------------------------------------


@lru_cache(maxsize=KEPT)
def _compiled(template: str) -> Template:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**", "%"])

        def call(self, context: Any, function: Any, /, *args: Any, **named: Any) -> Any:
            if getattr(function, "__name__", "") in ("format", "format_map"):
                raise TemplateRefused("it calls format, whose widths are not bounded: use ~")
            _check([*args, *named.values()])
            return super().call(context, function, *args, **named)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    filters = {name: _bounded(filter) for name, filter in environment.filters.items()}
    for name in ("format", "xmlattr", "urlize", "pprint"):
        del filters[name]
    filters["tojson"] = _to_json
    filters["counted"] = _counted
    filters["short"] = _short
    environment.filters = filters
    del environment.globals["lipsum"]
    tree = environment.parse(template)

    def through(filter: str, value: Any) -> nodes.Filter:
        return nodes.Filter(value, filter, [], [], None, None, lineno=value.lineno)

    for loop in tree.find_all(nodes.For):
        loop.iter = through("counted", loop.iter)
    for sum in tree.find_all(nodes.Add):
        sum.left, sum.right = through("short", sum.left), through("short", sum.right)
    for joined in tree.find_all(nodes.Concat):
        joined.nodes = [through("short", each) for each in joined.nodes]
    return environment.from_string(tree)


def _step() -> None:
    steps = _steps.get() + 1
    if steps > MOST_STEPS:
        raise TemplateRefused(f"it takes more than {MOST_STEPS} steps")
    _steps.set(steps)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _step()
        yield value


def _short(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > LONGEST_PROMPT:
        raise TemplateRefused(f"it joins more than {LONGEST_PROMPT} characters")
    return value


def _check(given: Sequence[Any]) -> None:
    _step()
    for value in given:
        if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
            raise TemplateRefused(f"it hands {value} to a function")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    _step()
    if operator == "**" and not (abs(left) <= LARGEST_NUMBER and 0 <= right <= 16):
        raise TemplateRefused("it takes too high a power")
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            many = isinstance(other, int) and not isinstance(one, int | float)
            if many and len(one) * other > LONGEST_PROMPT:
                raise TemplateRefused("it multiplies a text too often")
    if operator == "%" and isinstance(left, str) and _WIDE.search(left):
        raise TemplateRefused("it formats too wide a field")


def _bounded(filter: Callable[..., Any]) -> Callable[..., Any]:
    # `wraps` takes along what the filter wants to be handed, such as the context.
    @wraps(filter)
    def checked(*args: Any, **named: Any) -> Any:
        _check([*args, *named.values()])
        return filter(*args, **named)

    return checked


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Not Jinja2's own, which escapes for HTML.
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()
