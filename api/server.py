"""The process that serves the API."""

from __future__ import annotations

import uvicorn
import uvloop

from api.app import create_app
from api.process import in_one_line, prepare
from api.settings import Settings, load_settings
from api.wiring import api_room


async def serve_api(settings: Settings) -> None:
    """Run until SIGTERM; requests under way are finished within a few seconds."""
    async with api_room(settings) as room:
        config = uvicorn.Config(
            create_app(room),
            host=settings.host,
            port=settings.port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
            proxy_headers=False,  # nobody stands in front who would be believed
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    _settings = load_settings()
    prepare(_settings.log_level)
    with in_one_line():
        uvloop.run(serve_api(_settings))
