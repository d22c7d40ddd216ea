"""What clients send: OpenAI's request for a chat completion, as far as a room can honour it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from events.chat import LONGEST_NAME

MOST_MESSAGES = 4096
MOST_STOPS = 16
Stop = Annotated[str, Field(max_length=1000)]


class Part(BaseModel):
    """A part of a message: a text, or an image by a `data:` URL."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: dict[str, Any] | str | None = None


class FunctionCall(BaseModel):
    """The function that was called; `arguments` is JSON text."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str = ""


class MessageCall(BaseModel):
    """A call of a tool that a model asked for."""

    id: str = Field(max_length=512)
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = Field(default=None, max_length=512)
    name: str | None = Field(default=None, max_length=LONGEST_NAME)

    @model_validator(mode="after")
    def _answers(self) -> ChatMessage:
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError(
                "a message of role 'tool' needs 'tool_call_id': of the call it answers"
            )
        return self


class Function(BaseModel):
    """A function that the client calls itself; `parameters` is a JSON schema."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(default="", max_length=16_000)
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})

    @field_validator("description", mode="before")
    @classmethod
    def _null(cls, value: Any) -> Any:
        return "" if value is None else value


class OfferedTool(BaseModel):
    """A tool that the client offers."""

    type: Literal["function"]
    function: Function


class JSONSchema(BaseModel):
    """The form that an answer shall have."""

    name: str = ""
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """What an answer shall be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type 'json_schema' needs 'json_schema' with 'schema' in it")
        return self


class StreamOptions(BaseModel):
    """Of a streamed answer."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """OpenAI's request for a chat completion; `include_answers` is the room's own.

    Other parameters of OpenAI are taken, and have no effect, except those that would make another
    answer of it: these are refused.
    """

    model_config = ConfigDict(extra="allow")

    model: str = Field(
        min_length=1,
        max_length=1200,
        description="room/PRESET, session/ID, session/ID/PARTICIPANT or PROVIDER/MODEL",
    )
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=2**53)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**53)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[OfferedTool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] | None = None
    n: Literal[1] | None = Field(default=None, description="one answer a request")
    include_answers: bool = Field(
        default=False, description="send along what each participant said"
    )

    @field_validator("stream", "include_answers", mode="before")
    @classmethod
    def _not_wanted(cls, value: Any) -> Any:
        return False if value is None else value

    @model_validator(mode="after")
    def _possible(self) -> ChatRequest:
        given = self.model_extra or {}
        for name in ("functions", "function_call"):
            if given.get(name):
                raise ValueError(f"{name!r} is not taken any more: use 'tools'")
        if given.get("logprobs"):
            raise ValueError("'logprobs' cannot be had here: leave it out")
        if "audio" in (given.get("modalities") or ()):
            raise ValueError("'modalities': rooms answer in text only")
        return self

    @property
    def longest(self) -> int | None:
        """Tokens of the answer, at most."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """Where the answer shall stop."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def form(self) -> dict[str, Any] | None:
        """The JSON schema of the answer; None where it is a text."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        return {"type": "object"} if wanted.json_schema is None else wanted.json_schema.schema_
