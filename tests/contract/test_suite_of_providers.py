"""No type of provider is left out of the suite, and what one lacks is said and true."""

from __future__ import annotations

import inspect
from types import FunctionType, ModuleType

import pytest

from actors.providers.registry import BUILT_IN
from tests.contract import (
    test_every_provider,
    test_every_provider_failure,
    test_every_provider_tools,
    test_rehearsal_provider,
)
from tests.contract.every_provider import ASKED, answer, every_provider, serving, those_with
from tests.contract.provider_calls import listen
from tests.servers.dialects import EVERY
from tests.servers.dialects.dialect import FEATURES, MODEL, Dialect, Feature, has, name_of

SUITE = (test_every_provider, test_every_provider_failure, test_every_provider_tools)
CHOICES = [mark.mark.args for mark in (every_provider, *map(those_with, FEATURES))]


def cases(*modules: ModuleType) -> dict[str, FunctionType]:
    """The tests of the modules by their names."""
    return {
        name: test
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_") and inspect.isfunction(test)
    }


def test_every_type_has_a_dialect() -> None:
    assert {dialect.type for dialect in EVERY} | {"rehearsal"} == set(BUILT_IN)
    assert len({name_of(dialect) for dialect in EVERY}) == len(EVERY)


@pytest.mark.parametrize("name", cases(*SUITE))
def test_a_case_is_for_all_who_do_not_say_that_they_lack_what_it_is_about(name: str) -> None:
    marks = getattr(cases(*SUITE)[name], "pytestmark", [])
    assert any(mark.args in CHOICES for mark in marks)


def test_each_case_is_one_of_the_rehearsal_or_said_not_to_be() -> None:
    own, not_for_it = cases(test_rehearsal_provider), test_rehearsal_provider.NOT_FOR_IT
    assert {*own} & {*not_for_it} == set()
    assert {*own} | {*not_for_it} == {*cases(*SUITE)}
    assert all(not_for_it.values())


@every_provider
async def test_a_provider_says_what_its_dialect_does(dialect: Dialect) -> None:
    assert {*dialect.lacks} <= {*FEATURES}
    assert all(dialect.lacks.values())
    async with serving(dialect, *answer(dialect, "Yes.")) as (_, provider):
        await listen(provider, ASKED)  # some learn only then what the server has
        able = provider.capabilities(MODEL)
        told: dict[Feature, bool] = {
            "tools": able.tools,
            "images": able.images,
            "schema": able.structured_output,
        }
        if hasattr(dialect, "chat_template"):
            assert able.chat_template  # and what is lost with one is noted with the answer
        else:
            assert told == {feature: has(dialect, feature) for feature in told}
