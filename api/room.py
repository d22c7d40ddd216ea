"""What the API stands on, put together elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.bus import Bus
from actors.providers.config import Providers
from actors.tools.config import ToolServers
from api.settings import Settings
from events.store import BlobStore, EventStore
from events.values import Blob
from projections.database import Reader


@dataclass(frozen=True, slots=True)
class Room:
    """Settings, the way to the routers, and what is read: the log, the blobs, the projections.

    `store` may be opened read-only: the API never appends. Whoever makes a room opens and closes
    its parts, on the event loop that the API runs on.
    """

    settings: Settings
    bus: Bus
    store: EventStore
    blobs: BlobStore
    projections: Reader
    providers: Providers
    tool_servers: ToolServers = field(default_factory=ToolServers)

    def load(self, blob: Blob) -> str:
        """A long text by its reference."""
        return self.blobs.get(blob).decode("utf-8", "surrogatepass")
