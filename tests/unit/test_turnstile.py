"""The order in which the calls of a run get into the log."""

from __future__ import annotations

import asyncio

from actors.frameworks.numbers import HEADER, numbering
from api.turnstile import Ticket, Turnstile, numbered


async def through(ticket: Ticket, log: list[int], name: int) -> None:
    with ticket:
        await ticket.turn()
        log.append(name)


async def test_numbered_calls_go_by_their_numbers_and_others_as_they_came() -> None:
    turnstile, log = Turnstile(), list[int]()
    tickets = {number: turnstile.ticket(number) for number in (3, 1, 2)}
    plain = {name: turnstile.ticket() for name in (10, 11)}
    await asyncio.gather(
        *(through(ticket, log, name) for name, ticket in reversed(plain.items())),
        *(through(ticket, log, number) for number, ticket in tickets.items()),
    )
    assert [name for name in log if name < 10] == [1, 2, 3]
    assert [name for name in log if name >= 10] == [10, 11]


async def test_a_number_that_never_comes_is_not_waited_for_long() -> None:
    turnstile, log = Turnstile(patience=0.05), list[int]()
    await asyncio.wait_for(through(turnstile.ticket(2), log, 2), 20)
    await asyncio.wait_for(through(turnstile.ticket(1), log, 1), 20)
    assert log == [2, 1]


async def test_a_call_that_is_given_up_lets_those_behind_it_through() -> None:
    turnstile, log = Turnstile(), list[int]()
    first, second = turnstile.ticket(), turnstile.ticket()
    waiting = asyncio.create_task(through(second, log, 2))
    first.leave()
    first.leave()
    await asyncio.wait_for(waiting, 20)
    assert log == [2]


def test_what_is_no_number_is_none() -> None:
    said = ["1", "17", "", "-1", "1.0", "x", "1" * 10, None, "\u0661"]
    assert [numbered(header) for header in said] == [1, 17, *[None] * 7]


async def test_a_client_numbers_what_it_asks_models_and_nothing_else() -> None:
    import httpx2

    [hook] = numbering()["request"]
    seen = []
    for path in ("/openai/v1/chat/completions", "/mcp", "/openai/v1/chat/completions"):
        request = httpx2.Request("POST", f"http://127.0.0.1{path}")
        await hook(request)
        seen.append(request.headers.get(HEADER))
    assert seen == ["1", None, "2"]
