"""What happened: event types, session state, store, hash chain, codec, errors.

An **event** is something that happened, at a **position** (1, 2, 3, without gaps) of its
**stream**; a session is a stream. All events of a store stand in one **sequence**, too, in the
order in which they were committed. The **head** of a stream is its last event's position and hash,
and the turn that is open.

An event is an **input** (it came from outside: a command, an outcome, a timer) or **derived** (it
follows from the inputs, and replay makes it again). Events of an older version are **upcast** when
they are read. Text that is too long for an event is a **blob**, named by its SHA-256.

    events.open        opens the store, and the blobs, that a URL names
    events.session     the state of a session, folded from its events
    events.codec       the stored form of an event
    events.chain       the hash chain over the stored forms
    events.canonical   the one text of an event, which replay compares
    events.audit       finds the first place where the log is not what was written
    events.cloudevents events as they leave the room
"""

from events.config import Fallback as Fallback  # another model that stands in
from events.config import Participant as Participant  # a model in the conversation, in a role
from events.config import SessionConfig as SessionConfig  # who sits in a session, how it is routed
from events.envelope import Event as Event  # something that happened, at its place in its stream
from events.envelope import Head as Head  # the last event of a stream
from events.envelope import Recorded as Recorded  # an event with its place in the store's order
from events.grants import ToolGrant as ToolGrant  # the tools that a participant may use
from events.presets import PresetDeleted as PresetDeleted  # a name stands for nothing any more
from events.presets import PresetSaved as PresetSaved  # a name stands for a configuration
from events.store import BlobStore as BlobStore  # content by its SHA-256
from events.store import EventStore as EventStore  # an append-only store of streams
from events.store import Fault as Fault  # where a stream is not what was written
from events.tools import ApprovalDenied as ApprovalDenied  # a person does not allow a call
from events.tools import ApprovalGranted as ApprovalGranted  # a person allows a call
from events.tools import ApprovalRequested as ApprovalRequested  # a person is asked for a call
from events.tools import ElicitationAnswered as ElicitationAnswered  # what the person said to it
from events.tools import ElicitationRequested as ElicitationRequested  # a tool asks the person
from events.tools import ToolCalled as ToolCalled  # a tool is called
from events.tools import ToolCancelled as ToolCancelled  # the call is not wanted any more
from events.tools import ToolFailed as ToolFailed  # the call gave nothing
from events.tools import ToolRefused as ToolRefused  # the call is not made
from events.tools import ToolReturned as ToolReturned  # what a tool gave back
from events.types import BudgetOverrun as BudgetOverrun  # a step was not sent, for its cost
from events.types import BudgetRefused as BudgetRefused  # an account does not have the amount
from events.types import BudgetRequested as BudgetRequested  # an account is asked for an amount
from events.types import BudgetReserved as BudgetReserved  # an account holds an amount for a call
from events.types import BudgetSettled as BudgetSettled  # what the call has cost the account
from events.types import BudgetWarned as BudgetWarned  # a share of a budget is spent
from events.types import ChanceDrawn as ChanceDrawn  # a router asked for chance
from events.types import ContextTrimmed as ContextTrimmed  # the oldest utterances are left out
from events.types import Derived as Derived  # follows from the inputs
from events.types import Input as Input  # comes from outside
from events.types import ModelAnswered as ModelAnswered  # a model's whole answer
from events.types import ModelAsked as ModelAsked  # a participant is asked
from events.types import ModelCancelled as ModelCancelled  # the call is not wanted any more
from events.types import ModelDiscarded as ModelDiscarded  # an outcome that came too late
from events.types import ModelFailed as ModelFailed  # a model did not answer
from events.types import ModelReasked as ModelReasked  # nothing was heard, so it was sent again
from events.types import Payload as Payload  # what an event says
from events.types import RouteDecided as RouteDecided  # who is to answer, and why
from events.types import SessionClosed as SessionClosed  # the session takes no further turn
from events.types import SessionCreated as SessionCreated  # a session began
from events.types import SessionPaused as SessionPaused  # no new step until resumed
from events.types import SessionReconfigured as SessionReconfigured  # from the next turn on
from events.types import SessionResumed as SessionResumed  # it goes on
from events.types import TimerFired as TimerFired  # a timer ran out
from events.types import TimerSet as TimerSet  # the turn wants to be woken
from events.types import TurnCancelled as TurnCancelled  # the turn was called off
from events.types import TurnCompleted as TurnCompleted  # the router returned
from events.types import TurnFailed as TurnFailed  # the turn ended without an answer
from events.types import TurnQueued as TurnQueued  # a message waits behind the open turn
from events.types import TurnStarted as TurnStarted  # a turn began
from events.types import VoteCast as VoteCast  # a ballot
from events.types import VotesTallied as VotesTallied  # the count and the winner
from events.values import Attachment as Attachment  # a file that belongs to a message
from events.values import Blob as Blob  # a reference to content beside the store
from events.values import Cost as Cost  # money of one call
from events.values import Message as Message  # what a person posted
from events.values import Usage as Usage  # tokens of one call
