"""From a router's step to `model.asked`, and back from an outcome to what the router gets."""

from __future__ import annotations

from dataclasses import dataclass

from actors.routing import context
from actors.routing.context import Part
from actors.routing.digests import Digests
from actors.routing.steps import Answer, AskStep, Failure
from events.config import Participant, SessionConfig
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
        if len(text) * 4 <= SPILL:
            return text
        content = text.encode()
        if len(content) <= SPILL:
            return text
        blob = Blob.of(content)
        self.made[blob.sha256] = content
        return blob


@dataclass(frozen=True, slots=True)
class _Known:
    """What of a participant's requests is the same from step to step."""

    config: SessionConfig
    participant: Participant
    parameters: Parameters
    model: bytes
    systems: dict[str, tuple[Part, ...]]


class Asking:
    """Makes the events of the steps that ask a participant."""

    def __init__(self, session: Session, texts: Texts) -> None:
        self._session = session
        self._texts = texts
        self._digests = Digests(session)
        self._known: dict[str, _Known] = {}

    def asked(self, turn: Turn, step: AskStep) -> ModelAsked:
        """The event of `step`, with the context rule and request digest as of now."""
        config, upto = turn.config, step.upto
        assert config
        assert turn.started_at
        if upto is None:
            upto = self._session.position if step.see == "now" else turn.started_at
        known = self._of(config, step.participant)
        participant, parameters, model = known.participant, known.parameters, known.model
        if step.schema is not None:
            parameters = parameters.model_copy(update={"schema_": step.schema})
            model = context.request_model(participant, parameters.model_dump(mode="json"))
        window = participant.window or config.window
        rule = ContextRule(
            mode=step.history or participant.history or config.history,
            window=window if step.upto is None else step.window,
            upto=upto,
            exclude=step.exclude,
        )
        system = known.systems.get(rule.mode)
        if system is None:
            prompt = context.system_prompt(config, participant, rule.mode)
            system = known.systems[rule.mode] = context.framing(prompt, "system")
        text = None if step.instruction is None else self._texts.spill(step.instruction)
        digest = self._digests.of(
            turn,
            participant,
            rule,
            system=system,
            instruction=context.framing(text, "user"),
            model=model,
        )
        return ModelAsked(
            participant=participant.id,
            provider=participant.provider,
            model=participant.model_name,
            purpose=step.purpose,
            public=step.public,
            context=rule,
            instruction=text,
            parameters=parameters,
            digest=digest,
        )

    def _of(self, config: SessionConfig, id: str) -> _Known:
        known = self._known.get(id)
        if known is None or known.config is not config:
            participant = config.participant(id)
            assert participant
            parameters = Parameters(
                temperature=participant.temperature,
                top_p=participant.top_p,
                max_tokens=participant.max_tokens,
                seed=participant.seed,
                stop=participant.stop_sequences,
                extra=participant.extra,
            )
            model = context.request_model(participant, parameters.model_dump(mode="json"))
            known = self._known[id] = _Known(config, participant, parameters, model, {})
        return known


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
        window=step.context.window,
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
