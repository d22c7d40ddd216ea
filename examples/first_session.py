"""Two models answer one question; then the session proves that its log is the whole truth.

Usage: [CONTROL_ROOM_TOKEN=...] first_session.py [URL]
"""

import asyncio
import os
import sys

from api.client import RoomClient

SESSION = {
    "routing_pattern": "broadcast",
    "models": [
        {"id": "ada", "provider": "rehearsal", "model_name": "steady", "role": "architect"},
        {"id": "ben", "provider": "rehearsal", "model_name": "instant", "role": "reviewer"},
    ],
}


async def main(url: str) -> None:
    """Hold one turn in a session of its own."""
    async with RoomClient(url, token=os.environ.get("CONTROL_ROOM_TOKEN")) as room:
        session = (await room.create_session(SESSION))["session_id"]
        turn = await room.post_turn(session, "Should we store events or rows?", wait=60)
        for answer in turn["answers"]:
            print(f"{answer['participant']} ({answer['role']}): {answer['text']}\n")
        replay = await room.replay(session)
        print(f"replayed {replay['events']} events, identical: {replay['identical']}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"))
