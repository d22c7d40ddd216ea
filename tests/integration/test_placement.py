"""A model that needs resources is placed by Ray where they are, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from actors.cluster import placing
from tests.live_room import LiveRoom
from tests.servers.llama_model import WORDS


def test_ray_is_told_what_an_actor_needs() -> None:
    wanted = {"num_gpus": 0.5, "memory": 2e9, "lab": 1.0}
    assert placing(wanted) == {"num_gpus": 0.5, "memory": 2_000_000_000, "resources": {"lab": 1.0}}
    assert placing({}) == {"resources": {}}


async def test_a_file_is_run_by_its_actor_where_the_resources_are(
    tmp_path: Path, llama_model: Path
) -> None:
    def provider(id: str, **resources: float) -> dict[str, object]:
        config = {"path": str(llama_model), "resources": resources}
        return {"id": id, "type": "llama_cpp", "config": config}

    room = LiveRoom(
        tmp_path / "home", (provider("here", num_cpus=1), provider("away", num_gpus=64))
    )
    try:
        await room.start()
        await room.create("s", "here/tiny", "away/tiny", "rehearsal/instant")
        turn = await room.post("s")
        events = await room.ended("s", turn)
        said = {event.type: event.payload for event in events if event.step == "ask:p1:1"}
        assert {*said["model.answered"]["text"].split()} <= {*WORDS}
        [refused] = [event.payload for event in events if event.step == "ask:p2:1"][1:]
        assert (refused["error"], refused["retryable"]) == ("ConfigError", False)
        assert "has num_gpus 64" in refused["message"]
        assert room.pid_of_model("here", "tiny") != room.pid_of_model("rehearsal", "instant")
        assert (await room.client.replay("s"))["identical"]
    finally:
        await room.end()
