"""How much is taken of a server's list of tools."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from actors.tools.bounds import LONGEST_LIST, Bound

PLAIN: dict[str, Any] = {"type": "object"}


def tool(name: str, **options: Any) -> types.Tool:
    return types.Tool(name=name, **{"input_schema": PLAIN, **options})


def taken(*tools: types.Tool) -> tuple[list[str], tuple[str, ...]]:
    bound = Bound()
    bound.take(tools)
    return [each.name for each in bound.tools], bound.left_out


def test_a_tool_of_which_too_much_is_said_is_left_out_alone() -> None:
    wide = {"type": "object", "properties": {"x" * 40_000: {}}}
    names, left_out = taken(
        tool("a", description="é" * 8192),
        tool("b", description="é" * 8193),
        tool("c", input_schema=wide),
        tool("d", output_schema=wide),
        tool("e" * 257),
        tool("f", input_schema={"type": "object", "maxProperties": 2**70}),
        tool("g"),
    )
    assert names == ["a", "f", "g"]
    assert [each.split(":")[0] for each in left_out] == ["'b'", "'c'", "'d'", f"'{'e' * 100}'"]
    assert left_out[0] == "'b': its description has 16386 bytes, more than 16384"
    assert left_out[1].endswith("bytes, more than 32768")


def test_the_whole_list_is_bounded_by_its_bytes() -> None:
    many = [tool(f"t{number}", description="x" * 4000) for number in range(400)]
    names, left_out = taken(*many)
    assert names == [f"t{number}" for number in range(len(names))]
    assert 250 < len(names) < LONGEST_LIST / 4000
    assert left_out == (
        f"'t{len(names)}' and what follows it: the list has more than {LONGEST_LIST} bytes",
    )


def test_the_whole_list_is_bounded_by_its_tools() -> None:
    bound = Bound()
    bound.take(tool(f"t{number}") for number in range(1000))
    assert len(bound.tools) == 1000
    bound.take([tool("one"), tool("other")])
    assert bound.full
    assert len(bound.tools) == 1000  # as before
    assert bound.left_out == ("'one' and what follows it: there are more than 1000 tools",)


def test_only_some_of_what_is_left_out_is_told() -> None:
    _, left_out = taken(*(tool(f"t{number}", description="x" * 20_000) for number in range(50)))
    assert len(left_out) == 21
    assert left_out[-1] == "and 30 more"
