"""What a browser finds: the front page, the reference, and what the problems mean."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.problems import KINDS, ProblemError

router = APIRouter(include_in_schema=False)

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_CACHED = {"Cache-Control": "public, max-age=86400"}


@router.get("/")
async def front_page() -> JSONResponse:
    """Where things are."""
    return JSONResponse(
        {
            "name": "Control Room",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "sessions": "/v1/sessions",
            "models": "/v1/models",
            "ready": "/readyz",
        }
    )


@router.get("/docs")
async def reference() -> HTMLResponse:
    """The API's reference, to try out; everything that it needs comes from this room."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Control Room",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon-32x32.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "persistAuthorization": True},
    )


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """A file of the reference."""
    if name not in _ASSETS:
        raise ProblemError("not-found", "there is no such file: see /docs")
    content = resources.files("fastapi_swagger").joinpath("resources", name).read_bytes()
    return Response(content, media_type=_ASSETS[name], headers=_CACHED)


@router.get("/problems/{name}")
async def problem(name: str) -> JSONResponse:
    """What a kind of problem means."""
    kind = KINDS.get(name)
    if kind is None:
        raise ProblemError("not-found", f"kinds of problems are {', '.join(KINDS)}")
    return JSONResponse(
        {
            "type": f"/problems/{name}",
            "status": kind.status,
            "title": kind.title,
            "meaning": kind.meaning,
        }
    )
