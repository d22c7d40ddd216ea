from __future__ import annotations

from tests.rooms import LocalRoom


async def test_a_posted_message_is_answered_by_everyone(shared: LocalRoom) -> None:
    session = await shared.create("everyone", "a b c")
    turn = await shared.post(session, "What is a saga?", wait=20)
    assert turn["status"] == "completed"
    assert [answer["participant"] for answer in turn["answers"]] == ["a", "b", "c"]
    assert all(answer["text"] for answer in turn["answers"])
