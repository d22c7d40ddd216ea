"""Texts with places for inputs, the tools that are meant, and what is read of their results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import framework, known_frameworks
from actors.frameworks.templates import rendered
from actors.frameworks.tools import Tool, chosen, result_text

pytestmark = pytest.mark.unit


async def _nothing(_: Mapping[str, Any]) -> str:
    return ""


TOOLS = tuple(
    Tool(name, "", {}, _nothing)
    for name in ("files__read", "files__write", "my_files__read", "time__now")
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("About {{topic}} and {{ topic }}.", "About owls and owls."),
        ("About {topic}.", "About owls."),
        ('As {"topic": "x", "other": {}} on {topic}.', 'As {"topic": "x", "other": {}} on owls.'),
        ("{unknown} stays", "{unknown} stays"),
        ("{{list}} and {{number}}", '["a", 1] and 2.5'),
    ],
)
def test_places_are_filled_in_and_other_braces_stay(template: str, text: str) -> None:
    inputs = {"topic": "owls", "list": ["a", 1], "number": 2.5}
    assert rendered(template, inputs, "here") == text


@given(st.text())
def test_a_text_that_is_filled_in_is_no_template(text: str) -> None:
    assert rendered("<{{a}}>", {"a": text, "b": "never"}, "here") == f"<{text}>"


def test_an_input_that_is_missing_is_named_with_its_place() -> None:
    with pytest.raises(BadWorkflow, match=r"tasks.0: there is no input 'topic'; there are title"):
        rendered("About {{topic}}", {"title": "x"}, "tasks.0")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("files", ["files__read", "files__write"]),
        ("mcp:files", ["files__read", "files__write"]),
        ("mcp:files:read", ["files__read"]),
        ("files:read", ["files__read"]),
        ("files__write", ["files__write"]),
        ("my_files", ["my_files__read"]),
    ],
)
def test_tools_are_named_as_in_a_session(wanted: str, names: list[str]) -> None:
    assert [tool.name for tool in chosen(TOOLS, [wanted], "tools")] == names


def test_a_tool_is_offered_once_and_in_one_order() -> None:
    names = [tool.name for tool in chosen(TOOLS, ["time", "files:read", "mcp:files"], "tools")]
    assert names == ["files__read", "files__write", "time__now"]


@pytest.mark.parametrize("wanted", ["files:erase", "web", "", "a b"])
def test_a_tool_that_is_not_there_is_refused(wanted: str) -> None:
    with pytest.raises(BadWorkflow, match=r"^tools: "):
        chosen(TOOLS, [wanted], "tools")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [], "structuredContent": {"b": 1, "a": "é"}}, '{"a": "é", "b": 1}'),
        ({"content": [{"type": "text", "text": "no"}], "isError": True}, "Error: no"),
        ({"content": [], "isError": True}, "Error: the tool gave no reason"),
        ({"content": [{"type": "image", "data": "x"}]}, "[image]"),
        ({"content": [{"type": "resource", "resource": {"text": "inside"}}]}, "inside"),
        ({"content": [{"type": "resource_link", "uri": "file:///x"}]}, "file:///x"),
    ],
)
def test_a_result_is_shown_as_text(result: dict[str, Any], text: str) -> None:
    assert result_text(result) == text


def test_every_framework_is_found_by_its_name() -> None:
    for name in known_frameworks():
        assert framework(name).name == name
    with pytest.raises(BadWorkflow, match=r"no framework 'crew': use one of agent_framework, aut"):
        framework("crew")


def test_a_framework_of_another_distribution_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "mine-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[control_room.frameworks]\nmine = its_module:Mine\nbroken = its_module:Absent\n"
        "crewai = its_module:Mine\n"
    )
    (tmp_path / "its_module.py").write_text(
        "class Mine:\n    name = 'mine'\n    environment = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"mine", "broken"} < {*known_frameworks()}
    assert framework("mine").name == "mine"
    assert framework("crewai").environment == "crewai"  # what is built in stays
    with pytest.raises(BadWorkflow, match=r"'broken' \(its_module:Absent\) cannot be imported"):
        framework("broken")
