"""What a model's actor does with the pictures of a request."""

from __future__ import annotations

import orjson
import pytest

from events.chat import WireMessage
from events.store import BlobStore
from events.values import Attachment, Blob
from tests.integration.model_calls import room, served
from tests.servers.chat import whole
from tests.servers.dialects.dialect import PICTURE


def shown(blobs: BlobStore) -> WireMessage:
    """A message with a picture."""
    blob = blobs.put(PICTURE.data, "image/png")
    image = Attachment(**dict(blob), name="cat.png")
    return WireMessage(role="user", content="What is this?", images=(image,))


@pytest.mark.parametrize("long", [False, True])
async def test_a_picture_is_sent_to_the_provider(module_nats_url: str, long: bool) -> None:
    async with served(module_nats_url) as (server, router, _, blobs):
        server.reply(*whole("A cat."))
        message = shown(blobs)
        listed = blobs.put(orjson.dumps([message.model_dump(mode="json")]), "application/json")
        await router.ask("a-model", messages=listed if long else (message,))
        assert (await router.answered()).text == "A cat."
        [said] = server.requests[0].body["messages"]
        assert said["content"] == [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PICTURE.url}},
        ]


async def test_a_model_that_takes_no_pictures_is_not_asked(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady") as (router, _, blobs):
        await router.ask("steady", messages=(shown(blobs), shown(blobs)))
        failed = await router.failed()
        assert (failed.error, failed.retryable, failed.usage) == ("ProviderError", False, None)
        assert "takes no pictures, and what it is shown holds 2 images" in failed.message
        assert "a fallback that takes them" in failed.message
        assert not router.deltas
        await router.ask("steady", step="ask:architect:2")
        assert (await router.count(2))[1].answered, "a text is answered as ever"


async def test_a_picture_that_is_not_there_is_a_failure(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        gone = Attachment(**dict(Blob.of(PICTURE.data, "image/png")), name="cat.png")
        message = WireMessage(role="user", content="What?", images=(gone,))
        await router.ask("a-model", messages=(message,))
        failed = await router.failed()
        assert failed.error == "StoreError"
        assert gone.sha256 in failed.message
        assert server.requests == []
