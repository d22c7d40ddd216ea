"""From a router's step to `model.asked`, and back from an outcome to what the router gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from actors.routing import chain, context, digests, trimming
from actors.routing.digests import Digests
from actors.routing.offers import Offers
from actors.routing.steps import Answer, AskStep, Failure
from events.config import Participant, SessionConfig
from events.session import Session
from events.turns import Turn, text_size
from events.types import ContextTrimmed, ModelAnswered, ModelAsked, ModelFailed
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

    def keep(self, content: bytes, media_type: str) -> Blob:
        """The reference of what was made."""
        blob = Blob.of(content, media_type)
        self.made[blob.sha256] = content
        return blob


@dataclass(frozen=True, slots=True)
class _Known:
    """What of a participant's requests is the same from step to step.

    `asked` is validated once and copied for each step; `frames` are by history mode, by whether
    images are left out, and by the tools that are offered.
    """

    config: SessionConfig
    participant: Participant
    asked: ModelAsked
    frames: dict[tuple[str, bool, str | None, str | None, int | None], bytes]


class _Around(NamedTuple):
    """What a request has besides the system prompt and the conversation."""

    instruction: Text | None
    tools: Blob | None
    called: tuple[chain.Round, ...]
    blind: bool

    def tokens(self, image: int, longest: int = chain.LONGEST_RESULT) -> int:
        """Its tokens, estimated, with so many characters of each tool's result.

        `image` are those of an image.
        """
        found = trimming.tokens(text_size(self.instruction)) if self.instruction else 0
        found += trimming.tokens(self.tools.size) if self.tools else 0
        called = chain.size(self.called, longest)
        found += called.bytes // trimming.BYTES_PER_TOKEN
        return found + called.messages * trimming.PER_MESSAGE + called.images * image


class Asking:
    """Makes the events of the steps that ask a participant."""

    def __init__(self, session: Session, texts: Texts) -> None:
        self._session = session
        self._texts = texts
        self.offers = Offers()
        """Of the open turn."""
        self._digests = Digests(session)
        self._known: dict[tuple[str, int], _Known] = {}

    def asked(
        self, turn: Turn, step: AskStep, context_length: int | None, blind: bool
    ) -> tuple[ModelAsked, ContextTrimmed | None]:
        """The event of `step`, with the context rule and request digest as of now.

        With it comes what was left out, where the conversation is longer than `context_length`.
        Who is `blind` is shown a note in place of each image.
        """
        config, upto = turn.config, step.upto
        assert config
        assert turn.started_at
        if upto is None:
            upto = self._session.position if step.see == "now" else turn.started_at
        known = self._of(config, step.participant, step.fallback)
        offer = self.offers.of(step.participant) if step.tools else None
        tools = step.offered if offer is None else offer.listed
        if offer is not None and step.tool_choice == "required":
            tools = offer.forced
        tool_choice = None if tools is None else step.tool_choice
        model = (known.asked.provider, known.asked.model)
        called = chain.rounds(turn, step.continues, model)
        participant, parameters = known.participant, known.asked.parameters
        if step.parameters is not None:
            parameters = _with(parameters, step.parameters)
        if step.schema is not None:
            parameters = parameters.model_copy(update={"schema_": step.schema})
        window = participant.window or config.window
        rule = _rule(
            step.history or participant.history or config.history,
            window if step.upto is None else step.window,
            upto,
            step.exclude,
        )
        if step.given is not None:
            rule = ContextRule(mode="none", upto=upto)
        elif step.skip:
            rule = rule.model_copy(update={"skip": step.skip})
        instruction = None if step.instruction is None else self._texts.spill(step.instruction)
        trimmed = result_limit = None
        if context_length is not None and step.given is None:
            limit = trimming.room(context_length, parameters.max_tokens)
            around = _Around(instruction, tools, called, blind)
            trimmed, result_limit = self._trimmed(turn, known, rule, around, limit)
            if trimmed is not None:
                rule = rule.model_copy(update={"skip": rule.skip + trimmed.skipped})
        left_out = chain.size(called).images if blind else 0
        if blind and step.given is None:
            left_out += self._images(turn, known, rule)
        offered = tools.sha256 if tools else None
        key = (rule.mode, left_out > 0, offered, tool_choice, result_limit)
        frame = known.frames.get(key)
        usual = step.schema is None and not instruction and step.given is None
        if frame is None or not usual:
            system = context.system_prompt(config, participant, rule.mode)
            frame = digests.frame(
                participant,
                model,
                parameters,
                system,
                instruction,
                blind=left_out > 0,
                tools=tools,
                tool_choice=tool_choice,
                given=step.given,
                result_limit=result_limit,
            )
            if usual:
                known.frames[key] = frame
        frame = chain.lines(called) + frame
        asked = known.asked.model_copy(
            update={
                "purpose": step.purpose,
                "public": step.public,
                "context": rule,
                "images_left_out": left_out,
                "instruction": instruction,
                "parameters": parameters,
                "digest": self._digests.of(
                    turn, participant.id, rule, frame, given=step.given is not None
                ),
                "instead_of": step.instead_of,
                "tools": tools,
                "client_tools": () if offer is None else offer.client,
                "tool_choice": tool_choice,
                "continues": step.continues,
                "given": step.given,
                "result_limit": result_limit,
            }
        )
        return asked, trimmed

    def _images(self, turn: Turn, known: _Known, rule: ContextRule) -> int:
        """How many images belong to what the rule shows."""
        if not self._session.images:
            return 0
        shown = context.shown(self._session, known.participant.id, rule, turn.id)
        return sum(entry.images for entry in shown)

    def _trimmed(
        self,
        turn: Turn,
        known: _Known,
        rule: ContextRule,
        beside: _Around,
        limit: int,
    ) -> tuple[ContextTrimmed | None, int | None]:
        """What has to be left out besides what the rule leaves out; None where all of it fits.

        Where not even that is enough, with it comes how long a tool's result may be.
        """
        system = context.system_prompt(known.config, known.participant, rule.mode)
        image = 0 if beside.blind else trimming.IMAGE
        around = trimming.tokens(text_size(system)) + beside.tokens(image)
        # What was ever said is more than what is shown of it, and known without looking.
        session = self._session
        images = 0 if beside.blind else session.images
        if around + trimming.most(session.said, len(session.entries), images) <= limit:
            return None, None
        shown = context.shown(session, known.participant.id, rule, turn.id)
        found, longest = trimming.fit(shown, around, limit, image), None
        estimated, whole = found.estimated, beside.tokens(image)
        for longest in chain.SHORTER if found.left > limit and beside.called else ():
            less = around - whole + beside.tokens(image, longest)
            found = trimming.fit(shown, less, limit, image)
            if found.left <= limit:
                break
        if not found.skipped:
            return None, longest
        trimmed = ContextTrimmed(
            participant=known.participant.id,
            rule=trimming.RULE,
            skipped=found.skipped,
            estimated=estimated,
            limit=found.limit,
        )
        return trimmed, longest

    def _of(self, config: SessionConfig, id: str, fallback: int) -> _Known:
        known = self._known.get((id, fallback))
        if known is None or known.config is not config:
            participant = config.participant(id)
            assert participant
            model = participant.fallbacks[fallback - 1] if fallback else participant
            asked = ModelAsked(
                participant=participant.id,
                provider=model.provider,
                model=model.model_name,
                fallback=fallback,
                purpose="answer",
                context=ContextRule(upto=0),
                parameters=Parameters(
                    temperature=participant.temperature,
                    top_p=participant.top_p,
                    max_tokens=participant.max_tokens,
                    seed=participant.seed,
                    stop=participant.stop_sequences,
                    schema_=participant.answer_schema,
                    extra=participant.extra,
                ),
                digest="0" * 64,
            )
            known = self._known[id, fallback] = _Known(config, participant, asked, {})
        return known


def _with(own: Parameters, wanted: Parameters) -> Parameters:
    """A participant's own parameters, but for those that a run sets."""
    # What is set cannot be told from what was written down as not set: replay reads it back.
    sets = {name: value for name, value in wanted if value not in (None, ()) and name != "extra"}
    return own.model_copy(update={**sets, "extra": {**own.extra, **wanted.extra}})


@lru_cache(maxsize=16)  # those who are asked at once mostly see the same
def _rule(
    mode: Literal["shared", "isolated", "none"],
    window: int | None,
    upto: int,
    exclude: tuple[str, ...],
) -> ContextRule:
    return ContextRule(mode=mode, window=window, upto=upto, exclude=exclude)


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
        skip=step.context.skip,
        given=step.given,
        offered=step.tools if step.given is not None else None,
        parameters=step.parameters if step.given is not None else None,
    )


def stand_in(turn: Turn, failed: str, texts: Texts) -> AskStep | None:
    """The step that asks the next fallback what the step `failed` asked; None where none is left.

    Its key is still to be given.
    """
    step = turn.steps.get(failed)
    if step is None or step.asked is None or turn.config is None:
        return None
    participant = turn.config.participant(step.asked.participant)
    number = step.asked.fallback + 1
    if participant is None or number > len(participant.fallbacks):
        return None
    again = repeated(step.asked, failed, texts)
    return again._replace(
        public=step.asked.public,
        fallback=number,
        instead_of=failed,
        tools=step.asked.tools is not None and again.offered is None,
        tool_choice=step.asked.tool_choice,
        continues=step.asked.continues,
    )


def continued(turn: Turn, step: AskStep, texts: Texts) -> AskStep:
    """The step as it is asked: one that continues another is asked as that one was.

    Of the same model too, be it a fallback: what a model wants back with its calls is its own.
    """
    before = turn.steps[step.continues].asked if step.continues else None
    if before is None or step.upto is not None:
        return step
    return repeated(before, step.key, texts)._replace(
        public=before.public,
        fallback=before.fallback,
        tools=True,
        tool_choice=step.tool_choice,
        continues=step.continues,
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
