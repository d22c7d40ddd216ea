"""What a rehearsing model says: plain English about what was asked, in the voice of its role.

Pure functions of the conversation and a source of chance, so the same request with the same seed
is always answered with the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from actors.providers.port import ChatMessage
from actors.providers.rehearsal_voices import GENERAL, Voice, voice_of

SHORTEST, LONGEST = 60, 200  # words of an answer

_LABEL = re.compile(r"(?:^|\n\n)\[([^\]\n]{1,600})\]: ")
_WORD = re.compile(r"[^\W_](?:[\w'’+#.-]*\w)?[+#]*")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_CHOICE = re.compile(r"\b([\w+#]{3,24}) or ([\w+#]{3,24})\b")
_DETERMINERS = {
    "a": "the", "an": "the", "the": "the", "this": "the", "that": "the", "its": "its",
    "our": "your", "my": "your", "your": "your", "their": "their",
}  # fmt: skip
_STOP = frozenset(
    """about above after again all also am and any are as at be because been before being below
    between both but by can could did do does doing down during each every few for from further had
    has have having he her here how i if in into is it just let like make me more most much must no
    nor not of off on once one only or other out over own please same shall she should since so some
    such than then there these they those through to too under until up us very was we were what
    when where whether which while who why will with within without would write yes yet
    you""".split()
) | frozenset(_DETERMINERS)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a rehearsing model has before it."""

    asked: str
    """The last message of the user."""
    said: tuple[tuple[str, str], ...]
    """Who of the others has said what since, in order."""
    task: str = ""
    """What the room wants of it besides: a plan, a ballot, a synthesis."""


def scene_of(messages: Sequence[ChatMessage], purpose: str) -> Scene:
    """Finds the user's last message and what the others said to it, as the room labels them."""
    asked, task = "", ""
    said: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.role == "tool":
            said.insert(0, ("tool", message.content))
        if message.role != "user":
            continue
        content = message.content
        if not task and purpose not in ("answer", "proposal") and not said:
            content, _, task = content.rpartition("\n\n")
            if not content:
                content = task
        first, *rest = _LABEL.split(content)
        said = [(rest[n], rest[n + 1]) for n in range(0, len(rest), 2)] + said
        if first.strip():
            asked = first
            break
    return Scene(asked.strip(), tuple(said), task)


def answer(scene: Scene, role: str | None, purpose: str, chance: Random) -> str:
    """An answer of 60 to 200 words, which says that it is a rehearsal."""
    voice = voice_of(role)
    fill = _slots(scene.asked, chance)
    opening = [chance.choice(voice.openings).format(**fill)]
    opening.append(chance.choice(_LATER if scene.said else _REPLIES).format(**fill))
    if "side" in fill:
        opening.append(chance.choice(_SIDES).format(**fill))
    about_others = _about_others(scene.said, purpose, chance)
    closing = chance.choice(voice.closings).format(**fill)
    target = chance.randint(SHORTEST + 25, LONGEST - 30)
    body = _body(voice, fill, target - _length([*opening, *about_others, closing]), chance)
    paragraphs = [" ".join(opening), " ".join(about_others), " ".join(body), closing]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def reason(scene: Scene, role: str | None, chosen: str, chance: Random) -> str:
    """One or two sentences on why `chosen`: for plans and ballots."""
    fill = _slots(scene.asked, chance) | {"chosen": chosen, "eye": voice_of(role).eye}
    quoted = [(who, text) for who, text in scene.said if chosen and chosen in who]
    fragment = _fragment(quoted[-1][1], chance) if quoted else ""
    because = f" “{fragment}” decided it." if fragment else ""
    return chance.choice(_REASONS if chosen else _PLAIN_REASONS).format(**fill) + because


def keywords(text: str) -> list[str]:
    """The words of `text` that carry meaning, names first."""
    words = [word for word in _WORD.findall(text) if word.casefold() not in _STOP]
    names = [word for word in words if word[1:] != word[1:].lower() or word[:1].isupper()]
    return list(dict.fromkeys([*names[1:], *names[:1], *words]))


def word_count(text: str) -> int:
    """Words, in the sense of being set apart by white space."""
    return len(text.split())


def _body(voice: Voice, fill: dict[str, str], words: int, chance: Random) -> list[str]:
    own = list(voice.views)
    general = list(GENERAL)
    chance.shuffle(own)
    chance.shuffle(general)
    body: list[str] = []
    for number, frame in enumerate([*own[:3], general[0], *own[3:], *general[1:]]):
        sentence = frame.format(**fill)
        if number > 1 and _length([*body, sentence]) > words:
            break
        body.append(sentence)
    return body


def _about_others(said: Sequence[tuple[str, str]], purpose: str, chance: Random) -> list[str]:
    """Up to two remarks on what others said; all of them where the answer shall join them."""
    results = [text for who, text in said if who == "tool"]
    if results:
        result = _opening_words(results[-1]) or "nothing"
        return [f"The tool answered “{result}”, and I build on that."]
    latest = {who: _fragment(text, chance) for who, text in said}
    voices = [(who, quote) for who, quote in latest.items() if quote]
    if purpose == "synthesis":
        frames = chance.sample(_JOINS, len(_JOINS))
        remarks = [
            frames[n % len(frames)].format(who=_name(who), quote=quote)
            for n, (who, quote) in enumerate(voices[:5])
        ]
        return [*map(_capital, remarks), *([chance.choice(_DIFFER)] if voices else [])]
    chosen = voices[-1:] if len(voices) < 2 else [voices[-1], chance.choice(voices[:-1])]
    frames = chance.sample(_REMARKS, len(chosen))
    return [
        _capital(frame.format(who=_name(who), quote=quote))
        for frame, (who, quote) in zip(frames, chosen, strict=True)
    ]


def _slots(asked: str, chance: Random) -> dict[str, str]:
    """What the sentences are filled with: the words of the user, and what they are about."""
    topics = _topics(asked)
    first = topics[0] if topics else "the question"
    second = chance.choice(topics[1:]) if len(topics) > 1 else "the rest of it"
    fill = {
        "quote": _opening_words(asked) or "your message",
        "topic": first,
        "other": second,
    }
    for one, two in _CHOICE.findall(asked):
        if not {one.casefold(), two.casefold()} & _STOP:
            fill |= {"one": one, "two": two, "side": chance.choice((one, two))}
            break
    return fill


def _topics(asked: str) -> list[str]:
    """Things that the text names: a determiner and up to three words with meaning after it."""
    topics: dict[str, None] = {}
    for sentence in _SENTENCE.findall(asked[:2000]):
        for part in re.split(r"[,;:()\"“”]", sentence):
            words = _WORD.findall(part)
            for n, word in enumerate(words):
                determiner = _DETERMINERS.get(word.casefold())
                if determiner is None:
                    continue
                thing = []
                for following in words[n + 1 : n + 4]:
                    if following.casefold() in _STOP:
                        break
                    thing.append(following)
                if thing and all(len(word) < 25 for word in thing):
                    topics[f"{determiner} {' '.join(thing)}"] = None
    return list(topics)


def _opening_words(text: str) -> str:
    """The first sentence of `text`, cut where it is long."""
    for sentence in _sentences(text):
        words = sentence.split()
        if max(map(len, words)) <= 40:
            return sentence if len(words) <= 16 else " ".join(words[:13]).rstrip(",;:") + " …"
    return ""


def _fragment(text: str, chance: Random) -> str:
    """A sentence worth quoting: short, no quotation itself, and not about the rehearsal."""
    paragraphs = text.split("\n\n")
    core = "\n\n".join(paragraphs[1:-1]) if len(paragraphs) > 2 else text
    fit = [
        sentence
        for sentence in _sentences(core) or _sentences(text)
        if "‘" not in sentence and "rehears" not in sentence.lower()
    ]
    short = [sentence for sentence in fit if 4 <= word_count(sentence) <= 16]
    return _opening_words(chance.choice(short) if short else (fit or [""])[0])


def _sentences(text: str) -> list[str]:
    found = (
        " ".join(sentence.strip(" .!?\t“”\"'`*#>-").replace("“", "‘").replace("”", "’").split())
        for sentence in _SENTENCE.findall(text[:8000])
    )
    return [sentence for sentence in found if sentence]


def _name(label: str) -> str:
    """How one speaks of a participant: by its role where it has one."""
    role, _, id = label.partition(" (")
    if not id:
        return role
    return role if role[:1].isupper() else f"the {role}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _length(sentences: Sequence[str]) -> int:
    return sum(map(word_count, sentences))


_REPLIES = (
    "You ask: “{quote}”.",
    "You wrote “{quote}”, and I would begin with {topic}.",
    "As I read “{quote}”, most of it turns on {topic}.",
    "So: “{quote}”. Let me take {topic} first and {other} after it.",
    "“{quote}” can be read in two ways, and I take the practical one.",
)
_LATER = (
    "On {topic} there is something to add.",
    "I have heard the others, and still begin with {topic}.",
    "After what was said I see {topic} a little differently.",
    "Let me stay with {topic} for a moment.",
    "Much of it has been said, but about {other} I have another word.",
)
_SIDES = (
    "Between {one} and {two} I lean towards {side}, though not by much.",
    "Of the two I would take {side}, and keep the way back open.",
    "If I had to choose between {one} and {two} today, it would be {side}.",
)
_REMARKS = (
    "{who} says “{quote}”; I agree, and would go one step further.",
    "I keep coming back to what {who} said, “{quote}”, because it names the real cost.",
    "With “{quote}” {who} has a point that I had missed.",
    "I read “{quote}” from {who} differently: it is true, but it is not what hurts first.",
    "Where {who} says “{quote}”, I would ask for an example before I follow.",
    "{who} and I differ here: “{quote}” sounds right, yet it leaves the hardest part open.",
)
_JOINS = (
    "{who} puts it as “{quote}”.",
    "From {who} comes “{quote}”, which belongs into the answer.",
    "{who} adds “{quote}”.",
    "To that, {who} answers “{quote}”.",
    "And {who} reminds us: “{quote}”.",
)
_DIFFER = (
    "They agree on the direction and disagree on what to do first.",
    "They differ on how much to settle now and how much to leave for later.",
    "The disagreement is about the order of the work, not about its aim.",
)
_REASONS = (
    "In this rehearsal I choose {chosen}, with an eye to {eye}.",
    "A rehearsed choice: {chosen}, who is closest to {topic}.",
    "For the rehearsal, {chosen}: that view of {topic} looks at {eye}.",
    "Rehearsing as I am, I go with {chosen}, because with {topic} somebody has to mind {eye}.",
)
_PLAIN_REASONS = (
    "This is a rehearsal, so I look at {topic} with an eye to {eye}.",
    "Rehearsed, and only as good as that: with {topic} it comes down to {eye}.",
)
