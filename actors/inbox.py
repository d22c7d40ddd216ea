"""Answers to requests: all come by one subscription, each to the future that waits for it."""

from __future__ import annotations

import asyncio
import secrets
from itertools import count

from nats.aio.client import Client
from nats.aio.msg import Msg as RawMsg

from actors.handling import listen
from actors.outbox import Outbox

_NOBODY = "503"  # the status with which the server answers for a subject without listeners


class Lost(Exception):
    """The connection was lost before an answer came."""


class Nobody(Exception):
    """Nobody listens to the subject."""


class Inbox:
    """The requests of one connection that wait for their answer."""

    def __init__(self) -> None:
        self._subject = f"_INBOX.{secrets.token_hex(11)}"
        self._waiting: dict[str, asyncio.Future[RawMsg]] = {}
        self._numbers = count(1)

    async def open(self, client: Client) -> None:
        """Listen for answers on `client`."""
        await listen(client, f"{self._subject}.*", self._take)

    async def ask(self, outbox: Outbox, subject: str, data: bytes, deadline: float) -> bytes:
        """The answer to one request.

        Raises `Nobody`, `Lost`, or `TimeoutError` at `deadline` (time of the event loop).
        """
        loop = asyncio.get_running_loop()
        number = str(next(self._numbers))
        answer: asyncio.Future[RawMsg] = loop.create_future()
        outbox.put(subject, data, f"{self._subject}.{number}")
        self._waiting[number] = answer
        timer = loop.call_at(deadline, _fail, answer, TimeoutError())
        try:
            raw = await answer
        finally:
            timer.cancel()
            del self._waiting[number]
        if not raw.data and raw.headers and raw.headers.get("Status") == _NOBODY:
            raise Nobody
        return raw.data

    def drop(self) -> None:
        """Nothing that was asked will be answered."""
        for answer in self._waiting.values():
            _fail(answer, Lost())

    def _take(self, raw: RawMsg) -> None:
        answer = self._waiting.get(raw.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(raw)


def _fail(answer: asyncio.Future[RawMsg], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
