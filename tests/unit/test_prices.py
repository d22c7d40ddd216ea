"""Prices are exact decimals of a named table, and unknown where nobody's list applies."""

from __future__ import annotations

from decimal import Decimal
from importlib.metadata import version

import pytest

from actors.prices import PriceTable
from events.values import Cost, Usage

OPENAI = "https://api.openai.com/v1"


def test_price_equals_a_hand_calculation() -> None:
    # gpt-4o: 2.50 a million of input, 1.25 of cached input, 10.00 of output; reasoning is output.
    usage = Usage(input=800, cache_read=200, output=70, reasoning=30)
    expected = (
        Decimal(800) * Decimal("2.50") + Decimal(200) * Decimal("1.25") + Decimal(100) * Decimal(10)
    ) / Decimal(1_000_000)
    assert PriceTable(OPENAI).cost("gpt-4o", usage) == Cost(
        amount=expected, prices=f"genai-prices {version('genai-prices')}"
    )


def test_nothing_used_costs_nothing() -> None:
    cost = PriceTable(OPENAI).cost("gpt-4o", Usage())
    assert cost is not None
    assert cost.amount == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/v1",
        "http://localhost:1234/v1",
        "http://[::1]:8080/v1",
        "http://10.0.0.7:8000/v1",
        "http://gpu-box:8000/v1",
        "http://models.internal/v1",
        "https://no-such-vendor.example.com/v1",
        "",
    ],
)
def test_own_and_unknown_servers_have_no_price(url: str) -> None:
    assert PriceTable(url).cost("gpt-4o", Usage(input=1000, output=1000)) is None


def test_unknown_model_has_no_price() -> None:
    assert PriceTable(OPENAI).cost("a-model-nobody-sells", Usage(input=1)) is None
