"""The voices in which a rehearsing model speaks, by role.

Sentences are frames: `{topic}` and `{other}` are things that the user's message names, such as "the
event log", and stand only where both one and many fit. Every opening says that it is a rehearsal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """How one role speaks. `stems` are beginnings of words that name it; `eye` is what it minds."""

    stems: tuple[str, ...]
    eye: str
    openings: tuple[str, ...]
    views: tuple[str, ...]
    closings: tuple[str, ...]


def voice_of(role: str | None) -> Voice:
    """The voice whose stems begin a word of `role`; the plain one where none does."""
    words = (role or "").casefold().replace("-", " ").replace("_", " ").split()
    for voice in VOICES:
        if any(word.startswith(voice.stems) for word in words):
            return voice
    return PLAIN


ARCHITECT = Voice(
    stems=("archit", "design", "plan"),
    eye="the shape of the whole",
    openings=(
        "This is a rehearsal, so take it as a sketch and not as a plan.",
        "Rehearsing the architect, I draw before I build.",
        "A rehearsed view from the drawing board, with no model behind it.",
    ),
    views=(
        "I would draw one line before anything else: what has to survive, and what may be lost.",
        "Around {topic} I want a narrow interface, because everything on either side will change.",
        "Let there be one owner for {topic}, and one way in.",
        "Two plain parts with a clear contract will outlive one clever part.",
        "Most of the risk sits where {topic} and {other} meet, so I would settle that first.",
        "What is easy to replace can be decided late; for {topic} I would decide early.",
        "I would write down what we promise about {topic}, and keep everything else free to move.",
        "The data outlives the code, so I begin with what is kept and for how long.",
        "If a part cannot be drawn as a box with two arrows, it is doing two jobs.",
        "I would keep the truth in one place and let the rest be derived from it.",
    ),
    closings=(
        "If we agree on that boundary, the rest is work and not risk.",
        "Draw that line, and I am content to argue about the details later.",
        "That is the shape; somebody else may now tell me where it breaks.",
    ),
)

CODER = Voice(
    stems=("cod", "program", "develop", "engineer", "implement", "hack"),
    eye="what can be built this week",
    openings=(
        "This is a rehearsal: no code was run, but this is how I would start.",
        "Rehearsing the coder, I go straight for the first commit.",
        "Only rehearsed, yet I would open the editor at this point.",
    ),
    views=(
        "I would build the smallest thing that needs {topic}, from end to end, and measure that.",
        "One function, one test that fails for the right reason, and then the next.",
        "For {topic} a plain table and a loop will do until somebody shows me a number.",
        "I would keep {topic} free of input and output, so that a test needs no server.",
        "Names first: once {topic} and {other} are called the right thing, the code follows.",
        "Errors are part of the interface, so I would write their messages before the happy path.",
        "I would delete a flag before I add one.",
        "Whatever runs twice must do no harm the second time; of {other} I fear little else.",
        "A type that cannot hold the wrong value saves me three checks.",
        "I would put a limit on every queue, every retry and every loop on the first day.",
    ),
    closings=(
        "Give me an afternoon and there is something to try.",
        "I can start with that today and change it tomorrow.",
        "Small, tested, boring: that is the version I would ship.",
    ),
)

REVIEWER = Voice(
    stems=("review", "audit", "qa"),
    eye="what was overlooked",
    openings=(
        "A rehearsed review, so no line of code was really read.",
        "Rehearsing the reviewer, I look for what is missing.",
        "This is a rehearsal; my remarks are in the order in which I would raise them.",
    ),
    views=(
        "First question: what happens to {topic} when two requests come at once?",
        "I do not see yet how anybody would notice that {other} went wrong.",
        "The happy path is fine; I would like to see what is done when it is half done.",
        "There should be one test that fails if {topic} were taken out, and I cannot name it.",
        "A limit is missing, and what has no limit will find one in production.",
        "I would ask for the reason behind {other} in a sentence, next to the code.",
        "Two places know the same thing about {topic}, and one of them will be forgotten.",
        "The error tells me that it failed; it should tell me what to do.",
        "I would rather see this undone easily than done perfectly.",
        "What I like: it is small enough to be read in one sitting.",
    ),
    closings=(
        "With those points answered I would approve it.",
        "None of this blocks the work, but I would not merge it before the first point is settled.",
        "Two small changes, and it has my approval.",
    ),
)

CRITIC = Voice(
    stems=("critic", "scept", "skept", "devil", "contrar", "opponent"),
    eye="the weakest assumption",
    openings=(
        "I only rehearse my doubts here, but doubts they are.",
        "This is a rehearsal, and I have been cast as the one who disagrees.",
        "Rehearsing the critic: somebody has to say what everybody hopes not to hear.",
    ),
    views=(
        "We talk about {topic} as if the need for it were proven; I have not seen the proof.",
        "What would have to be true for this to be a bad idea? I think it is true on Mondays.",
        "The plan is good for the case that we like and silent on the case that we have.",
        "Take {topic} away: if nobody complains for a week, we have our answer.",
        "Everyone has named a benefit, and nobody who pays for it.",
        "It is a solution that I recognise from another problem.",
        "I would put a price on {other} before I call it free.",
        "If we are wrong about {topic}, how would we find out, and how late?",
        "Simple is being used here for what is only familiar.",
        "The strongest argument against it has not been made yet: we may not need it.",
    ),
    closings=(
        "Convince me with one number and I will be quiet.",
        "I would be glad to be wrong, and cheaply, on a small trial.",
        "That is my objection; the burden is now on the other side.",
    ),
)

SECURITY = Voice(
    stems=("secur", "pentest", "attack", "privacy", "red"),
    eye="who could misuse it",
    openings=(
        "A rehearsal, though an attacker would not wait for the real thing.",
        "Rehearsing the security side, I begin with who would want to break this.",
        "This is only rehearsed, so nothing here has been attacked yet.",
    ),
    views=(
        "Whoever can write to {topic} can, sooner or later, read {other}; I would split the two.",
        "Every input is from a stranger until it has been checked, and it is checked in one place.",
        "I would list who may touch {topic}, and start that list empty.",
        "Secrets belong in no log, no message and no error, which has to be tested and not hoped.",
        "The default must be the safe one, because defaults are what runs.",
        "I care less about keeping them out than about seeing that they were in.",
        "A limit for each caller turns most attacks on {topic} into a nuisance.",
        "What we do not store cannot be stolen; I would keep less of {other}.",
        "A token that never expires is a password with a longer name.",
    ),
    closings=(
        "With that in place I would sleep; without it I would at least want to be told.",
        "Close those two doors first, and then let us speak about the windows.",
        "It is cheap now, and it never will be again.",
    ),
)

TESTER = Voice(
    stems=("test", "quality"),
    eye="what can be shown to work",
    openings=(
        "A rehearsal is a kind of test, so I feel at home.",
        "Rehearsing the tester: I ask how we would know.",
        "This is rehearsed, and I would want to see the real thing fail once.",
    ),
    views=(
        "I would pull the plug in the middle of {topic} and see what is left afterwards.",
        "Give me the smallest input, the largest, an empty one, and one that nobody would send.",
        "A test that cannot fail is decoration.",
        "I would let chance choose the order of events, and print the seed when it goes wrong.",
        "For {other} I would write the expected result by hand, once, before anything is built.",
        "What was broken once gets a test with its name on it.",
        "If {topic} can be replayed, half of my work is done.",
        "I trust a real server in a test more than the best imitation of it.",
        "Slow tests are not run, and tests that are not run do not exist.",
    ),
    closings=(
        "When those pass I believe it, and not before.",
        "Show me that once, and I will look for the next way to break it.",
        "That is three tests; I would start with the second.",
    ),
)

WRITER = Voice(
    stems=("writ", "edit", "author", "journal", "poet", "story", "market", "copy"),
    eye="how it reads to a stranger",
    openings=(
        "A rehearsed draft, to be rewritten by somebody with a heartbeat.",
        "Rehearsing the writer, I look for the sentence that the rest can hang on.",
        "This is a rehearsal, so read it as a first draft.",
    ),
    views=(
        "I would tell it from the side of the person who meets {topic} for the first time.",
        "One picture of {topic} will carry further than three claims about it.",
        "The reader does not know {other} yet, and should not have to.",
        "Cut the first paragraph, and it begins where it should have begun.",
        "Say what it does before saying how good it is.",
        "There is a quieter word for every loud one, and it is nearly always the better one.",
        "I would end on {topic}, because that is what people will repeat.",
        "Short sentences for what matters, longer ones for what it feels like.",
        "If it can be misread, it will be quoted that way.",
    ),
    closings=(
        "Read it aloud once; the place where you stumble is the place to change.",
        "That is the draft, and the cuts will make it better.",
        "Half as long, it would be twice as good.",
    ),
)

RESEARCHER = Voice(
    stems=("research", "scien", "analy", "histor", "econom", "expert", "professor"),
    eye="the evidence",
    openings=(
        "Rehearsed, and therefore without a source to its name.",
        "This is a rehearsal, so treat what follows as a hypothesis.",
        "Rehearsing the researcher, I would first ask what is known.",
    ),
    views=(
        "I would separate what we know about {topic} from what we repeat about it.",
        "The comparison is missing: better than what, and for whom?",
        "A small experiment on {topic} would tell us more than a large argument.",
        "Before we explain {other}, let us make sure that it happens.",
        "I would expect the effect to be real and smaller than we hope.",
        "What would change my mind is a case where {topic} made no difference.",
        "The average hides the answer; I would look at the worst tenth.",
        "Others have met this before us, under another name.",
        "With so few cases I would not call it a trend.",
    ),
    closings=(
        "That is what I would measure, and what I would conclude either way.",
        "Until then I hold it for likely, and not for known.",
        "One good measurement, and we can stop guessing.",
    ),
)

OPERATOR = Voice(
    stems=("ops", "sre", "operat", "admin", "devops", "reliab", "infra"),
    eye="the night when it breaks",
    openings=(
        "A rehearsal, like every good disaster plan.",
        "Rehearsing the operator, I think of three in the morning.",
        "This is only rehearsed, and nothing has been deployed.",
    ),
    views=(
        "I would ask how {topic} can be turned off, before I ask how to turn it on.",
        "If {other} has to be restarted by hand, I want the command in the alarm.",
        "One number should tell me whether {topic} is well, and a person should see it daily.",
        "A backup that was never restored is a hope.",
        "I would rather run one thing that I know than three that are said to be better.",
        "Every time-out should be shorter than the patience of whoever waits for it.",
        "It has to come back by itself after a power cut, in any order.",
        "Fill the disk on purpose, once, on a quiet afternoon.",
        "What runs for a year must clean up after itself.",
    ),
    closings=(
        "If it survives that, it can go live.",
        "I will carry the pager for it, on those terms.",
        "Then I can go back to sleep, which is the goal.",
    ),
)

MODERATOR = Voice(
    stems=("moderat", "coordinat", "chair", "manager", "lead", "host", "facilit", "director"),
    eye="what we can agree on",
    openings=(
        "This is a rehearsal, and I keep the minutes.",
        "Rehearsing the one who holds the thread, I sum up as we go.",
        "A rehearsed round, but let us keep to the order.",
    ),
    views=(
        "I hear agreement on {topic}, and an open question about {other}.",
        "Let us decide {topic} now and put {other} on the list.",
        "Two of the points belong together, and I would take them in one go.",
        "Before we choose, each of us should say what would make them choose otherwise.",
        "Nobody has spoken for the people who have to live with it; I do it for them.",
        "What we need today is a next step, and not the whole way.",
        "I would give this a week and one person who answers for it.",
        "The difference between us is smaller than it sounds.",
        "I note that we all assume the same thing about {topic}, which is worth a second look.",
    ),
    closings=(
        "If nobody objects, that is how we proceed.",
        "So much for the common ground; the rest I leave open on purpose.",
        "That is where we stand, and who goes next.",
    ),
)

PLAIN = Voice(
    stems=(),
    eye="what matters most",
    openings=(
        "This is a rehearsal: the words are prepared, and only the pace is real.",
        "Rehearsing, since no real model sits in this chair yet.",
        "A rehearsed answer, given by nobody in particular.",
    ),
    views=(
        "I would begin with what we want {topic} to do for somebody, and work backwards.",
        "With {topic} the first half is easy, and the second half is where the time goes.",
        "There are two sides to it, and I would hear both before choosing.",
        "As for {other}, I would leave it as it is until it hurts.",
        "A small step that can be taken back is worth more than a large one that cannot.",
        "I would try it on one case, look at what happens to {topic}, and only then go on.",
        "The plain way is usually good enough, and one can say why when it is not.",
        "It helps to say aloud what we are not going to do.",
        "I would ask the person who will use it, and watch more than listen.",
    ),
    closings=(
        "That is how I would go about it.",
        "So much from me; I am curious what the others make of it.",
        "I may be wrong, and would like to find out early.",
    ),
)

VOICES = (
    SECURITY, REVIEWER, CRITIC, TESTER, ARCHITECT, OPERATOR, MODERATOR, RESEARCHER, WRITER, CODER,
)  # fmt: skip
"""In the order in which they are tried: a security engineer is not just any engineer."""

GENERAL = (
    "None of that needs to be perfect on the first day.",
    "I would write the reason down, because in half a year nobody will remember it.",
    "What decides it in the end is how often {topic} will have to change.",
    "There is a cheaper way to learn the same, and I would take it.",
    "I say this knowing that {other} may turn out quite differently.",
    "Where we are unsure, I would pick what is easier to undo.",
    "The rest follows from that, or it can wait.",
    "For {topic} that means doing less, and doing it earlier.",
    "It costs an hour to check, and a week to regret.",
    "I would not spend more thought on {other} before the first result is in.",
    "One more thing speaks for it: it can be explained in a minute.",
    "If time is short, this is the part that I would keep.",
)
