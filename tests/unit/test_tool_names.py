"""The names under which models are offered tools."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tools.names import offered_names


def test_plain_names_are_kept_and_others_end_with_a_digest() -> None:
    names = offered_names([("files", "read_file"), ("files", "näh"), ("files", "x" * 80)])
    assert [(re.sub(r"_[0-9a-f]{8}$", "_#", name), tool) for name, (_, tool) in names.items()] == [
        ("files__n_h_#", "näh"),
        ("files__read_file", "read_file"),
        ("files__" + "x" * 48 + "_#", "x" * 80),
    ]


def test_names_that_would_be_the_same_are_not() -> None:
    names = offered_names([("s", "a b"), ("s", "a_b"), ("s", "a.b")])
    assert len(names) == 3
    assert {tool for _, tool in names.values()} == {"a b", "a_b", "a.b"}


def test_a_name_that_looks_like_anothers_digest_takes_nothing_from_it() -> None:
    (digested,) = offered_names([("s", "a.b")])
    same = ("s", digested.removeprefix("s__"))
    for tools in ([("s", "a.b"), same], [same, ("s", "a.b")]):
        names = offered_names(tools)
        assert names[digested] == ("s", "a.b")
        assert sorted(names.values()) == sorted(tools)


def test_tools_with_the_same_digest_have_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alike:
        def __init__(self, real: bytes) -> None:
            self._real = real

        def hexdigest(self) -> str:
            return "0" * 8 + self._real.hex() + "0" * 48

    monkeypatch.setattr("actors.tools.names.sha256", Alike)
    names = offered_names([("s", "a.b"), ("s", "a b"), ("s", "c")])
    assert sorted(names.values()) == [("s", "a b"), ("s", "a.b"), ("s", "c")]
    assert all(len(name) <= 64 for name in names)


@given(st.lists(st.tuples(st.sampled_from(["a", "b-1"]), st.text(min_size=1, max_size=80))))
def test_every_tool_has_a_name_of_its_own_that_providers_take(tools: list[tuple[str, str]]) -> None:
    names = offered_names(tools)
    assert sorted(names.values()) == sorted(set(tools))
    assert list(names) == sorted(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert all(name.startswith(f"{server}__") for name, (server, _) in names.items())
