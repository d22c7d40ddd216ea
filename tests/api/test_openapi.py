"""The OpenAPI document: good enough to generate a client from, and true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import document
from tests.rooms import LocalRoom, config, room_in_a_thread

METHODS = {"get", "post", "patch", "put", "delete"}


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRoom]:
    with room_in_a_thread(tmp_path_factory.mktemp("room")) as room:
        yield room


DOCUMENT = document()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS & item.keys():
            yield f"{method.upper()} {path}", item[method]


def test_a_room_serves_the_document(threaded: LocalRoom) -> None:
    served = httpx2.get(f"{threaded.url}/openapi.json", trust_env=False)
    assert served.json() == DOCUMENT


def test_every_operation_can_become_a_method_of_a_client() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names) >= 20
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, operation in operations():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], f"{name}: {parameter['name']}"


def test_every_answer_has_a_schema_and_every_problem_is_one() -> None:
    for name, operation in operations():
        responses = operation["responses"]
        assert {"422", "500", "default"} <= responses.keys(), name
        for status, response in responses.items():
            kinds = response["content"]
            if " /openai/" in name and (status == "default" or status >= "400"):
                (schema,) = [kind["schema"] for kind in kinds.values()]
                assert schema["$ref"].endswith("/OpenAIError"), f"{name} {status}"
            elif status == "default" or (status >= "400" and name != "GET /readyz"):
                assert set(kinds) == {"application/problem+json"}, f"{name} {status}"
            for kind in kinds.values():
                assert kind["schema"], f"{name} {status}"
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    found = re.findall(r"#/components/schemas/([\w-]+)", str(DOCUMENT))
    assert set(found) <= schemas.keys()
    assert set(schemas) - set(found) == set()


def test_requests_have_examples_that_work(threaded: LocalRoom) -> None:
    for name, operation in operations():
        if "requestBody" in operation:
            kinds = operation["requestBody"]["content"].values()
            assert any(content.get("examples") for content in kinds), name
    with httpx2.Client(base_url=threaded.url, trust_env=False) as client:
        body = DOCUMENT["paths"]["/v1/sessions"]["post"]["requestBody"]["content"]
        (example,) = body["application/json"]["examples"].values()
        answer = client.post("/v1/sessions", json=example["value"] | {"session_id": "example"})
        assert answer.status_code == 201


def test_the_reference_needs_nothing_from_elsewhere(threaded: LocalRoom) -> None:
    with httpx2.Client(base_url=threaded.url, trust_env=False) as client:
        page = client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
        assert len(links) == 3
        assert not re.search(r"https?://", page.text)
        for link in links:
            asset = client.get(link)
            assert asset.status_code == 200
            assert len(asset.content) > 100
        assert "SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").text
        assert client.get("/docs/other.js").status_code == 404


# --- whatever is sent, nothing breaks ------------------------------------------------------------


@pytest.fixture(scope="module")
def furnished(threaded: LocalRoom) -> LocalRoom:
    with httpx2.Client(base_url=threaded.url, trust_env=False) as client:
        # Something to be found, under the names that the document gives as examples.
        created = client.post("/v1/sessions", json=config("sess_abc123", "model_1 b"))
        assert created.status_code == 201
        path = "/v1/sessions/sess_abc123/turns?wait=20"
        assert client.post(path, json={"content": "Hello"}, timeout=30).status_code == 200
    return threaded


whatever = schemathesis.openapi.from_dict(DOCUMENT)


@whatever.parametrize()
@settings(max_examples=10)
def test_whatever_is_sent_the_room_answers_as_it_says(case: Any, furnished: LocalRoom) -> None:
    # A client that waits for what never comes would only wait.
    if case.query and "wait" in case.query:
        case.query["wait"] = 0
    case.call_and_validate(
        base_url=furnished.url,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            response_headers_conformance,
        ],
        timeout=20,
    )
