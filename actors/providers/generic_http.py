"""The provider `generic_http`: any API that takes JSON and answers in JSON.

A template says what is sent, paths say where the answer stands.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from actors.providers.assembly import Assembly, Notes
from actors.providers.chat_messages import message_of, tool_of
from actors.providers.chat_template import render
from actors.providers.forced_calls import NOTE, told
from actors.providers.generic_answer import GenericAnswer, Places, compiled, found
from actors.providers.http_errors import Refusal, refusal_of
from actors.providers.http_options import HttpOptions, checked_address
from actors.providers.port import Capabilities, ChatRequest
from actors.providers.request_template import RequestTemplate
from actors.providers.sandbox import TemplateFault
from actors.providers.sse import Format
from actors.providers.templated import TemplatedProvider
from events.errors import ProviderError
from events.values import Value

_PLAIN: Final = ("text/plain", "application/octet-stream")
_CHOICE: Final = "request.tool_choice"


def _endpoint(url: str) -> str:
    """An address that may have a query."""
    parts = urlsplit(url)
    checked_address(urlunsplit(parts._replace(query="")))
    return url


def _path(path: str) -> str:
    compiled(path)
    return path


def _template(template: Any) -> Any:
    if "${" in repr(template):
        raise ValueError("a secret has no place here: set it as api_key and write {{ api_key }}")
    try:
        RequestTemplate(template)
    except TemplateFault as error:
        raise ValueError(str(error)) from None
    return template


Path = Annotated[str, Field(min_length=1), AfterValidator(_path)]
"""A JSONPath; the first value at it counts."""

Count = Literal["input", "output", "cache_read", "cache_write", "reasoning"]


class StreamOptions(Value):
    """What a streamed answer is: lines of JSON, or events whose data are JSON.

    It ends with the event `[DONE]`, or with an item that has at `done_path` the value `done_value`,
    or any but null, false, 0 and "" where no value is given. Other paths default to those beside.
    """

    format: Literal["sse", "ndjson"]
    text_path: Path
    done_path: Path | None = None
    done_value: Any = None
    finish_path: Path | None = None
    reasoning_path: Path | None = None
    tool_calls_path: Path | None = None


class GenericHttpOptions(HttpOptions):
    """Options of type `generic_http`.

    `request_template` is described in `actors.providers.request_template`. It sees `messages` and
    `request.tools` in OpenAI's form, `prompt` (the last message, or all that a `chat_template`
    makes of them), `config` (`model_name`, `temperature`, `top_p`, `max_tokens`, `seed`, `stop` and
    what is in `extra`), `api_key`, and `request` (`model`, `role`, `purpose`, `schema`, `stream`,
    `tool_choice`, without a place for which no tools are sent where they shall not be called, and
    the model is told in words where it has to call one).
    The paths are JSONPaths into the answer; at `tool_calls_path` is a list in OpenAI's form, and
    without it no tools are sent. `models` are those to be had.
    """

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    request_template: Annotated[dict[str, Any] | list[Any], AfterValidator(_template)]
    response_path: Path
    reasoning_path: Path | None = None
    finish_path: Path | None = None
    tool_calls_path: Path | None = None
    error_path: Path = "$.error"
    usage_paths: dict[Count, Path] = Field(default_factory=dict)
    # False, as with every provider, asks for whole answers, which is what is asked for here anyway.
    stream: StreamOptions | Literal[False] = False  # type: ignore[assignment]
    models: tuple[str, ...] = ()


class GenericHttpProvider(TemplatedProvider):
    """See the module."""

    Options = GenericHttpOptions

    def __init__(self, id: str, options: GenericHttpOptions) -> None:
        super().__init__(id, options, options.endpoint, {})
        self._options = options
        self._template = RequestTemplate(options.request_template)
        self._error_path = compiled(options.error_path)
        self._places = _places(options)
        query = parse_qsl(urlsplit(options.endpoint).query)
        self._http.secrets.add(*(value for _, value in query), *filter(None, [options.key]))

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(
            structured_output=self._template.uses("request.schema"),
            tools=self._template.uses("request.tools") and self._places.calls is not None,
            chat_template=self._template.uses("prompt"),
            context_length=self._options.context_length,
            max_tokens=self._template.uses("config.max_tokens"),
        )

    async def models(self) -> tuple[str, ...]:
        return self._options.models

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return ""

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        if any(message.images for message in request.messages):
            raise ProviderError(f"provider {self.id!r} takes no pictures: leave them out")
        in_words = request.tool_choice == "required" and not self._template.uses(_CHOICE)
        request = told(request) if in_words else request
        parameters = request.parameters
        given: dict[str, Any] = {
            "temperature": parameters.temperature,
            "top_p": parameters.top_p,
            "max_tokens": parameters.max_tokens,
            "seed": parameters.seed,
            "stop": list(parameters.stop) or None,
        }
        given = {name: value for name, value in given.items() if value is not None}
        config = {**given, **parameters.extra, "model_name": request.model}
        try:
            body = self._template.body(self._context(request, config))
        except TemplateFault as error:
            raise ProviderError(
                f"provider {self.id!r}: its request_template fails at"
                f" {self._http.secrets.hidden(str(error))[:400]}"
            ) from None
        wanted = [f"config.{name}" for name in given]
        wanted += ["request.tools"] if request.tools else []
        wanted += ["request.schema"] if parameters.schema_ is not None else []
        notes = [
            f"{name.partition('.')[2]}: request_template has no place for it"
            for name in wanted
            if not self._template.uses(name) and name.partition(".")[2] not in parameters.extra
        ]
        notes += [NOTE] if in_words else []
        if request.tools and self._template.uses("request.tools") and self._places.calls is None:
            notes.append("tools: without tool_calls_path no call could be read, so none was sent")
        for name, value in parameters.extra.items():
            if self._template.uses(f"config.{name}"):
                continue
            if isinstance(body, dict) and name not in ("model", "stream"):
                body[name] = value
            else:
                notes.append(f"{name}: request_template has no place for it")
        return cast(dict[str, Any], body), tuple(notes)

    def _context(self, request: ChatRequest, config: dict[str, Any]) -> dict[str, Any]:
        about = {
            "model": request.model,
            "role": request.role,
            "purpose": request.purpose,
            "tools": self._tools(request),
            "tool_choice": request.tool_choice,
            "schema": request.parameters.schema_,
            "stream": self._places.streamed,
        }
        context: dict[str, Any] = {
            "messages": [message_of(message) for message in request.messages],
            "config": config,
            "request": {name: value for name, value in about.items() if value is not None},
        }
        if self._options.key is not None:
            context["api_key"] = self._options.key
        if self._template.uses("prompt"):
            said = [each.content for each in request.messages if each.role == "user"]
            template = request.chat_template
            context["prompt"] = render(template, request) if template else (said or [""])[-1]
        return context

    def _tools(self, request: ChatRequest) -> list[dict[str, Any]] | None:
        if self._places.calls is None:
            return None
        if request.tool_choice == "none" and not self._template.uses(_CHOICE):
            return None
        return [tool_of(tool) for tool in request.tools] or None

    # --- the answer ----------------------------------------------------------------------------

    def _format(self, content_type: str) -> Format | None:
        usual = super()._format(content_type)
        stream = self._options.stream
        if usual is None and content_type not in _PLAIN:
            return None
        if not stream:
            return "json"
        # Lines of JSON come under every name, a whole body may come in place of events.
        return "json" if stream.format == "sse" and usual == "json" else stream.format

    def _assembly(self, request: ChatRequest) -> Assembly:
        return GenericAnswer(self.id, self._places)

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        error = None
        if isinstance(said.content, dict | list):
            with suppress(ValueError):
                error = found(self._error_path, said.content)
        if error is not None:
            told = refusal_of(error, said.status, said.headers, self._http.secrets)
            said = replace(told, content=said.content)
        return super()._refused_as(said, model)


def _places(options: GenericHttpOptions) -> Places:
    stream = options.stream

    def path(name: str) -> Any:
        text = getattr(stream or options, name, None) or getattr(options, name)
        return None if text is None else compiled(text)

    return Places(
        text=compiled(stream.text_path if stream else options.response_path),
        streamed=bool(stream),
        reasoning=path("reasoning_path"),
        calls=path("tool_calls_path"),
        finish=path("finish_path"),
        error=path("error_path"),
        done=compiled(stream.done_path) if stream and stream.done_path else None,
        done_value=stream.done_value if stream else None,
        usage={name: compiled(path) for name, path in options.usage_paths.items()},
    )
