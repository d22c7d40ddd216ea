"""What a call costs, from a named price table; in decimals, never floats."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from events.values import Cost, Usage

if TYPE_CHECKING:
    from genai_prices import types


class PriceTable:
    """The prices of the vendor behind one API address.

    Addresses of this machine or of a private network are nobody's price list; the table, whose
    import takes half a second, is loaded for others when this is made.
    """

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._known = not _is_private(api_url)
        if self._known:
            import genai_prices

            self._name = f"genai-prices {genai_prices.__version__}"

    def cost(self, model: str, usage: Usage) -> Cost | None:
        """The price of `usage` of `model` now, in US dollars; None where it is not known."""
        if not self._known:
            return None
        from genai_prices import calc_price

        try:
            price = calc_price(_reported(usage), model, provider_api_url=self._api_url)
        except (LookupError, ValueError):
            return None
        return Cost(amount=price.total_price, prices=self._name)


def _reported(usage: Usage) -> types.Usage:
    """The usage as vendors report it: cached tokens are within input, reasoning within output."""
    from genai_prices import Usage as Reported

    return Reported(
        input_tokens=usage.input + usage.cache_read + usage.cache_write,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output + usage.reasoning,
    )


def _is_private(api_url: str) -> bool:
    host = urlsplit(api_url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal"))
