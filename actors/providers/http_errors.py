"""What the refusal of a model server means, in our own errors; no message ever holds a key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import orjson

from events.errors import (
    AuthenticationFailed,
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)

LONGEST_MESSAGE = 400  # characters of what the server says
WISHES = ("temperature", "top_p", "seed", "stop")
"""Parameters that a model may refuse."""

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|too many tokens|prompt is too long"
    r"|exceeds? (the (available|maximum) )?(context|number of tokens)|exceed_context",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[ _](filter|policy|management)|responsible_?ai|moderation|safety system", re.IGNORECASE
)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unrecognized|unknown|not (a )?(known|permitted|allowed)|deprecated"
    r"|cannot both|extra[_ ](inputs|forbidden|fields)|only [\w ]+ supported|unavailable"
    r"|missing field|must be one of|must be '[^']+' or '|forces tool use",
    re.IGNORECASE,
)
_BAD_VALUE = re.compile(r"invalid[_ ](json[_ ])?schema|\bimages?\b", re.IGNORECASE)
"""What one request holds is wrong: a schema, or a picture, of which there are formats too."""
_NO_PICTURES = re.compile(
    r"\bimage[_ ]?(input|url)s?\b['`]? (is|are) (not (supported|enabled)|only supported by)"
    r"|(does|do)(n't| not) support (images?|image input|vision)\b(?! (format|type|size|of|in)s?\b)"
    r"|no endpoints found that support image|at most 0 image|not a (multi-?modal|vision)"
    r"|unknown variant `image_url`|unsupported content part type[^:]*: image_url",
    re.IGNORECASE,
)
"""Who says that takes no pictures at all: OpenAI, llama.cpp, Ollama, OpenRouter, vLLM, DeepSeek."""
_NO_CREDIT_CODE = re.compile(
    r"insufficient_(quota|balance|credit|funds)|billing|payment|spend_limit", re.IGNORECASE
)
_RATE_CODE = re.compile(r"rate_?limit|\b(requests|tokens)\b", re.IGNORECASE)
# Messages about mere rates name billing and payments too, as what would raise the limit.
_NO_CREDIT = re.compile(
    r"insufficient_quota|exceeded your current quota|credit balance|spend_limit", re.IGNORECASE
)
_STATUS_OF_TYPES = (
    ("rate_limit", 429),
    ("insufficient_quota", 429),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_request", 400),
    ("exceed_context", 400),
    ("context_length", 400),
    ("content", 400),
    ("overloaded", 529),
    ("billing", 402),
)
_MANY_SPACES = re.compile(r"\s+")


class Secrets:
    """Texts that no error may hold."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: list[str] = []
        self.add(*texts)

    def add(self, *texts: str) -> None:
        """Hide these too from now on, such as a token that was fetched."""
        # What is shorter than that is no secret, and would make holes into every message.
        known = {text for text in (*self._texts, *texts) if len(text) >= 6}
        # As a part of an address, in which they may come back.
        known |= {form for text in known for form in (quote(text), quote(text, safe=""))}
        self._texts = sorted(known, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """`text` without them, in whatever case: names of hosts come back in small letters."""
        for secret in self._texts:
            # A search for text is a hundred times faster than that for a pattern.
            if not secret.isascii() or secret.lower() in text.lower():
                text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
        return text

    def hidden_within(self, value: Any) -> Any:
        """JSON without them, whose quotes and backslashes would not look the same as text."""
        if isinstance(value, str):
            return self.hidden(value)
        if isinstance(value, dict):
            return {self.hidden(key): self.hidden_within(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.hidden_within(each) for each in value]
        return value


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said instead of an answer. `codes` are its type, code and parameter.

    `content` is all of it as it came, for what only one vendor says; it may hold a secret.
    """

    status: int
    message: str
    codes: str
    headers: Mapping[str, str]
    content: Any = field(default=None, repr=False)

    @property
    def words(self) -> str:
        """All that it says."""
        return f"{self.codes} {self.message}"

    @property
    def takes_no_pictures(self) -> bool:
        """Whether the request is refused because it shows a picture to a model that takes none."""
        return self.status in (400, 404, 415, 422, 500) and bool(_NO_PICTURES.search(self.message))

    def is_about(self, parameter: str) -> bool:
        """Whether the request is refused because that parameter is not known.

        A wrong value of it, such as a schema that does not hold together, is another matter: it
        says nothing about the next request.
        """
        words = self.words
        if self.status not in (400, 404, 422) or _TOO_LONG.search(words):
            return False
        if not _UNSUPPORTED.search(words) or _BAD_VALUE.search(words):
            return False
        # One of several, such as `tools[0].function`, has a wrong value.
        return re.search(rf"\b{parameter}\b(?!\[|\.\d|\S*\.schema\b)", words) is not None


def refusal(status: int, body: bytes, headers: Mapping[str, str], secrets: Secrets) -> Refusal:
    """Reads the body of an error, whatever its form."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = body.decode("utf-8", "replace")
    return refusal_of(content, status, headers, secrets)


def refusal_of(content: Any, status: int, headers: Mapping[str, str], secrets: Secrets) -> Refusal:
    """The same from what was in the body, or in an event of a stream."""
    detail = content.get("error", content) if isinstance(content, dict) else content
    codes = ""
    if isinstance(detail, dict):
        codes = " ".join(
            str(detail[key]) for key in ("type", "code", "param", "status") if detail.get(key)
        )
        if isinstance(more := detail.get("details"), dict) and more.get("error_code"):
            codes += f" {more['error_code']}"
        detail = next((detail[k] for k in ("message", "detail", "error") if detail.get(k)), "")
    detail = secrets.hidden_within(detail)
    message = detail if isinstance(detail, str) else orjson.dumps(detail).decode()
    message = _MANY_SPACES.sub(" ", message).strip()
    if len(message) > LONGEST_MESSAGE:
        message = message[:LONGEST_MESSAGE] + " …"
    return Refusal(status, message, secrets.hidden(codes), headers, content)


def status_within(error: Any) -> int:
    """The status that an error within a stream would have had, by its code or type."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:
        return code
    kind = f"{error.get('type')} {code}" if isinstance(error, dict) else ""
    return next((status for word, status in _STATUS_OF_TYPES if word in kind), 500)


def to_error(refusal: Refusal, provider: str, model: str) -> ProviderError:
    """The error that a refusal is, with what to do about it."""
    who = f"provider {provider!r}"
    said = f" It says: {refusal.message}" if refusal.message else ""
    words = refusal.words
    status = refusal.status
    error: ProviderError
    if status in (401, 403):
        error = AuthenticationFailed(
            f"{who} refuses the credentials ({status}): check api_key in its configuration.{said}"
        )
    elif status == 407:
        error = proxy_refuses(who)
    elif status in (402, 429):
        error = _limited(refusal, who, said)
    elif status in (400, 413, 422, 500) and _TOO_LONG.search(words):
        error = ContextTooLong(
            f"the conversation does not fit model {model!r} of {who}:"
            f" shorten it, or give the participant a window.{said}"
        )
    elif status in (400, 422, 451) and _FILTERED.search(words):
        error = ContentFiltered(f"{who} refuses the content: change what is asked.{said}")
    elif status == 404:
        error = ModelNotFound(
            f"{who} has no model {model!r}, or its address is wrong (404):"
            f" see which models it lists.{said}"
        )
    elif status == 413:
        error = ContextTooLong(f"the request is too large for {who} (413): shorten it.{said}")
    elif status in (408, 409, 425) or status >= 500:
        after = retry_after(refusal.headers)
        when = "later" if after is None else f"in {after:g} s"
        error = ProviderUnavailable(
            f"{who} has an error of its own ({status}): ask {when}.{said}", retry_after=after
        )
    elif 300 <= status < 400:
        error = BadResponse(
            f"{who} redirects to another address ({status}): configure the address where its API is"
        )
        error.retryable = False
    else:
        error = ProviderError(f"{who} refuses the request ({status}).{said}")
    return error


def proxy_refuses(who: str) -> AuthenticationFailed:
    """The error of a proxy that wants to know who asks."""
    return AuthenticationFailed(
        f"the proxy on the way to {who} refuses the credentials (407): set user and password in"
        " HTTPS_PROXY or HTTP_PROXY, as in http://user:password@host:port, or leave the provider's"
        " host out by NO_PROXY"
    )


def _limited(refusal: Refusal, who: str, said: str) -> RateLimited:
    after = retry_after(refusal.headers)
    a_rate = after is not None or _RATE_CODE.search(refusal.codes)
    out_of_credit = refusal.status == 402 or _NO_CREDIT_CODE.search(refusal.codes)
    if out_of_credit or (not a_rate and _NO_CREDIT.search(refusal.message)):
        error = RateLimited(f"the account at {who} has no credit left: top it up.{said}")
        error.retryable = False
        return error
    when = "later" if after is None else f"in {after:g} s"
    return RateLimited(
        f"{who} limits the rate (429): ask again {when}, or lower max_concurrency.{said}",
        retry_after=after,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, by number or by date; None where it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if value := headers.get(name):
            try:
                seconds = float(value) * unit
            except ValueError:
                seconds = _seconds_until(value)
            if 0 <= seconds < float("inf"):
                return seconds
    return None


def _seconds_until(date: str) -> float:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError):
        return -1.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
