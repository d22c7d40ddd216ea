"""From a router's step to `model.asked`, and back from an outcome to what the router gets."""

from __future__ import annotations

from actors.routing import context
from actors.routing.steps import Answer, AskStep, Failure
from events.session import Session, Turn
from events.types import ModelAnswered, ModelAsked, ModelFailed
from events.values import SPILL, Blob, ContextRule, Parameters, Text


class Texts:
    """Long texts: read by reference, and collected where the machine makes them itself."""

    def __init__(self, load: context.Load) -> None:
        self.load = load
        self.made: dict[str, bytes] = {}

    def read(self, text: Text) -> str:
        """The text itself."""
        return self.load(text) if isinstance(text, Blob) else text

    def spill(self, text: str) -> Text:
        """The text, or its reference where it is too long for an event."""
        content = text.encode("utf-8", "surrogatepass")
        if len(content) <= SPILL:
            return text
        blob = Blob.of(content)
        self.made[blob.sha256] = content
        return blob


def asked(session: Session, turn: Turn, step: AskStep, texts: Texts) -> ModelAsked:
    """The event of `step`, with the context rule and request digest as of now."""
    config, started_at = turn.config, turn.started_at
    assert config
    assert started_at
    participant = config.participant(step.participant)
    assert participant
    upto = session.position if step.see == "now" else started_at
    event = ModelAsked(
        participant=participant.id,
        provider=participant.provider,
        model=participant.model_name,
        purpose=step.purpose,
        public=step.public,
        context=ContextRule(
            mode=step.history or participant.history or config.history,
            window=participant.window or config.window,
            upto=upto if step.upto is None else step.upto,
            exclude=step.exclude,
        ),
        instruction=None if step.instruction is None else texts.spill(step.instruction),
        parameters=Parameters(
            temperature=participant.temperature,
            top_p=participant.top_p,
            max_tokens=participant.max_tokens,
            seed=participant.seed,
            stop=participant.stop_sequences,
            schema_=step.schema,
            extra=participant.extra,
        ),
        digest="0" * 64,
    )
    built = context.parts(session, turn, event)
    digest = context.request_digest(built, context.request_model(participant, event))
    return event.model_copy(update={"digest": digest})


def repeated(step: ModelAsked, key: str, texts: Texts) -> AskStep:
    """The step that asks what `step` asked, with the context of that time."""
    return AskStep(
        key,
        step.participant,
        None if step.instruction is None else texts.read(step.instruction),
        step.purpose,
        history=step.context.mode,
        exclude=step.context.exclude,
        schema=step.parameters.schema_,
        upto=step.context.upto,
    )


def outcome(key: str, data: ModelAnswered | ModelFailed, texts: Texts) -> Answer | Failure:
    """What the router gets for a model's outcome."""
    participant = key.split(":")[1]
    if isinstance(data, ModelFailed):
        return Failure(participant, key, data.error, data.message, data.retryable)
    return Answer(
        participant,
        key,
        texts.read(data.text),
        None if data.reasoning is None else texts.read(data.reasoning),
        data.tool_calls,
        data.finish_reason,
    )
