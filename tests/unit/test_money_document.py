"""What docs/money.md shows is taken as it stands."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

from actors.providers.config import ProviderSpec, check, create
from api.price_tables import named_table
from events.config import SessionConfig

TEXT = (Path(__file__).parents[2] / "docs" / "money.md").read_text()
PROVIDER, TABLES, SESSION = (
    json.loads(dedent(found)) for found in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
)


def test_the_provider_has_those_prices() -> None:
    spec = ProviderSpec.model_validate(PROVIDER)
    check(spec)
    provider = create(spec, {})
    rack, gpt = provider.prices("llama-3"), provider.prices("gpt-4o")
    assert rack
    assert (rack.table, rack.hour) == ("our rack", Decimal("1.80"))
    assert gpt
    assert (gpt.rates.cache_read, gpt.rates.reasoning) == (Decimal("1.25"), Decimal(10))


def test_the_price_tables_are_found(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text(json.dumps(TABLES))
    table = named_table(tmp_path, "if we moved")
    gpt, other = table.prices("openai", "gpt-4o", None), table.prices("elsewhere", "llama", None)
    assert gpt
    assert gpt.rates.input == Decimal("0.15")
    assert other
    assert other.hour == 2
    assert table.prices("openai", "o1", None) is None, "the first provider that fits decides"


def test_the_session_has_those_budgets() -> None:
    config = SessionConfig.model_validate(SESSION)
    assert config.budget
    assert (config.budget.limit, len(config.budget.warn_at)) == (Decimal("2.50"), 2)
    assert config.models[0].budget
    assert config.models[0].budget.warn_at == (Decimal("0.8"),)
