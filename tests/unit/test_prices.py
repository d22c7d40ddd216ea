"""Prices are exact decimals of a named table, and unknown where nobody's list applies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from actors.prices import OWN_MACHINE, GivenPrices, PriceTable, charged, given_for
from actors.providers.config import ProviderSpec, create
from actors.providers.port import Provider
from events.prices import Prices, Rates, Tier
from events.values import Cost, Usage

OPENAI = "https://api.openai.com/v1"
TABLE = f"genai-prices {version('genai-prices')}"


def prices(url: str, model: str) -> Prices:
    found = PriceTable(url).prices(model)
    assert found is not None
    return found


def test_price_equals_a_hand_calculation() -> None:
    # gpt-4o: 2.50 a million of input, 1.25 of cached input, 10.00 of output; reasoning is output.
    usage = Usage(input=800, cache_read=200, output=70, reasoning=30)
    expected = (
        Decimal(800) * Decimal("2.50") + Decimal(200) * Decimal("1.25") + Decimal(100) * Decimal(10)
    ) / Decimal(1_000_000)
    assert prices(OPENAI, "gpt-4o").cost(usage, 2.5) == Cost(amount=expected, prices=TABLE)


def test_nothing_used_costs_nothing() -> None:
    assert prices(OPENAI, "gpt-4o").cost(Usage(), 1).amount == 0


def _sold() -> Iterator[tuple[str, str]]:
    """Every model of the table that is sold by the token alone, with its vendor."""
    ours = {"input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok"}
    for vendor in get_snapshot().providers:
        for model in vendor.models:
            price = model.get_prices(datetime.now(UTC))
            kinds = {name for name, value in price.__dict__.items() if value is not None}
            found = vendor.find_model(model.id)
            if found is model and kinds & {"input_mtok", "output_mtok"} and kinds <= ours:
                yield vendor.id, model.id


def test_every_price_of_the_table_gives_what_its_own_library_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sold = list(_sold())
    assert len(sold) > 500
    snapshot = get_snapshot()
    for vendor, model in sold:
        info = snapshot.find_provider_model(model, None, vendor, None)
        table = PriceTable(OPENAI)
        monkeypatch.setattr(snapshot, "find_provider_model", lambda *_, info=info: info)
        ours = table.prices(model)
        monkeypatch.undo()
        assert ours is not None
        for length in (10, 150_000, 300_000, 2_000_000):
            usage = Usage(input=length, cache_read=1000, cache_write=500, output=7, reasoning=2)
            theirs = genai_prices.calc_price(
                genai_prices.Usage(
                    input_tokens=length + 1500,
                    cache_read_tokens=1000,
                    cache_write_tokens=500,
                    output_tokens=9,
                ),
                model,
                provider_id=vendor,
            )
            assert ours.cost(usage, 1).amount == theirs.total_price, (vendor, model, length)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/v1",
        "http://localhost:1234/v1",
        "http://[::1]:8080/v1",
        "http://10.0.0.7:8000/v1",
        "http://gpu-box:8000/v1",
        "http://models.internal/v1",
        "",
    ],
)
def test_one_s_own_servers_are_free(url: str) -> None:
    assert prices(url, "gpt-4o") == OWN_MACHINE
    assert OWN_MACHINE.cost(Usage(input=1000, output=1000), 60).amount == 0


def test_unknown_vendors_and_models_have_no_price() -> None:
    assert PriceTable("https://no-such-vendor.example.com/v1").prices("gpt-4o") is None
    assert PriceTable(OPENAI).prices("a-model-nobody-sells") is None


def test_given_prices_are_found_by_name_and_then_by_pattern() -> None:
    given = {
        "gpt-*": GivenPrices(input=Decimal(2), output=Decimal(8), table="our contract"),
        "gpt-4o": GivenPrices(request=Decimal("0.01")),
        "*": GivenPrices(hour=Decimal("0.36")),
    }
    contract = given_for("gpt-5", given)
    assert contract is not None
    usage = Usage(input=500_000, cache_read=500_000, output=100_000, reasoning=25_000)
    assert contract.cost(usage, 9) == Cost(amount=Decimal(3), prices="our contract")
    by_request, by_hour = given_for("gpt-4o", given), given_for("llama", given)
    assert by_request
    assert by_request.cost(usage, 9) == Cost(amount=Decimal("0.01"), prices="provider file")
    assert by_hour
    assert by_hour.cost(usage, 100).amount == Decimal("0.01")
    assert given_for("llama", {"gpt-*": given["gpt-*"]}) is None


def openai(**given: Any) -> Provider:
    config = {"base_url": OPENAI, "api_key": "k", "prices": given}
    return create(ProviderSpec(id="sold", type="openai", config=config), {})


def test_an_answer_costs_what_the_model_does_that_served_it() -> None:
    listed, note = charged(openai(), "gpt-4o-mini", "gpt-4o")
    assert listed == prices(OPENAI, "gpt-4o") != prices(OPENAI, "gpt-4o-mini")
    assert note == "priced as gpt-4o, which served it"
    unknown, note = charged(openai(), "gpt-4o-mini", "something-else")
    assert unknown == prices(OPENAI, "gpt-4o-mini")
    assert note == "no price is known of something-else, which served it: priced as gpt-4o-mini"
    for same in ("gpt-4o-mini", None, ""):
        assert charged(openai(), "gpt-4o-mini", same) == (prices(OPENAI, "gpt-4o-mini"), None)
    assert charged(openai(), "some-alias", "gpt-4o")[0] == prices(OPENAI, "gpt-4o")
    assert charged(openai(), "some-alias", "another") == (None, None)


@pytest.mark.parametrize(
    ("given", "served", "dollars"),
    [
        ({"asked": 1, "served": 2, "*": 3}, "served", 2),
        ({"asked": 1, "s*": 2}, "served", 1),  # a name goes before patterns
        ({"a*": 1, "s*": 2}, "served", 2),
        ({"a*": 1}, "gpt-4o", 1),  # and both before the list
    ],
)
def test_given_prices_go_before_the_list_whatever_served(
    given: dict[str, int], served: str, dollars: int
) -> None:
    provider = openai(**{name: {"request": price} for name, price in given.items()})
    found, _ = charged(provider, "asked", served)
    assert found
    assert found.request == dollars


def test_a_provider_that_knows_only_models_charges_what_was_asked() -> None:
    class Plain:
        def prices(self, model: str) -> Prices | None:
            return {"a": Prices(table="a"), "b": Prices(table="b")}.get(model)

    for asked, table in (("a", "a"), ("c", "b")):
        found, _ = charged(Plain(), asked, "b")
        assert found
        assert found.table == table


RATE = st.decimals(0, 100, places=4)
RATES = st.builds(Rates, input=RATE, cache_read=RATE, cache_write=RATE, output=RATE, reasoning=RATE)
TOKENS = st.integers(0, 2_000_000)


@given(
    st.builds(
        Prices,
        table=st.just("any"),
        rates=RATES,
        tiers=st.lists(st.builds(Tier, above=TOKENS, rates=RATES), max_size=2).map(tuple),
        request=RATE,
        hour=RATE,
    ),
    st.builds(
        Usage, input=TOKENS, cache_read=TOKENS, cache_write=TOKENS, output=TOKENS, reasoning=TOKENS
    ),
    st.floats(0, 600),
)
def test_no_call_costs_more_than_the_most_that_it_can(
    any_prices: Prices, usage: Usage, seconds: float
) -> None:
    cost = any_prices.cost(usage, seconds).amount
    most = any_prices.most(
        usage.input + usage.cache_read + usage.cache_write, usage.output + usage.reasoning, 600
    )
    assert 0 <= cost <= most
