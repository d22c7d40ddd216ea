"""Chat templates: what they see, and what they may not do."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from actors.providers import chat_template, sandbox
from actors.providers.chat_template import CHATML, render
from actors.providers.port import ChatMessage, ChatRequest, Tool
from events.errors import ProviderError, ProviderUnavailable
from events.values import ToolCall
from tests.contract.provider_calls import listen, made

ASKED = ChatRequest(
    "a-model", (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello {{ 1 }} <b>"))
)

LONG = "{% set b = 'a' * 4000000 %}"


def test_a_conversation_becomes_text() -> None:
    assert render(CHATML, ASKED) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHello {{ 1 }} <b><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_conventions_of_hugging_face_are_kept() -> None:
    template = """{{ bos_token }}
{%- if tools %}
    {%- for tool in tools %}
        {{- tool.function | tojson }}
    {% endfor %}
{% endif %}
{% for message in messages %}
    {% if message['role'] == 'system' %}{% continue %}{% endif %}
    {% for call in message.tool_calls %}
[{{ call.function.name }} {{ call.function.arguments.at }}]
    {% endfor %}
{{ message['role'] + ': ' + message['content'] | trim ~ eos_token }}{{ ',' if not loop.last }}
{% endfor %}
{% if add_generation_prompt %}assistant:{% endif %}"""
    call = ToolCall(id="1", name="look_up", arguments='{"at": "Zürich"}')
    asked = ChatRequest(
        "a-model",
        (
            ChatMessage("system", "passed over"),
            ChatMessage("user", " Where? "),
            ChatMessage("assistant", "", tool_calls=(call,)),
        ),
        tools=(Tool("look_up", "Looks <up>.", {}),),
    )
    assert render(template, asked, bos_token="<s>", eos_token="</s>") == (
        '<s>{"name":"look_up","description":"Looks <up>.","parameters":{}}\n'
        "user: Where?</s>,\n"
        "[look_up Zürich]\n"
        "assistant: </s>\n"
        "assistant:"
    )


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("line one\n{% for %}", "line 2"),
        ("{{ messages | no_such_filter }}", "no_such_filter"),
        ("{{ nothing.at_all }}", "'nothing' is undefined"),
        ("{{ messages[0] + 1 }}", "TypeError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ '{:99999999999}'.format(1) }}", "use ~"),
        ("{% include '/etc/passwd' %}", "no loader"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(template: str, why: str) -> None:
    with pytest.raises(ProviderError, match="chat_template") as caught:
        render(template, ASKED)
    assert why in caught.value.message
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{% set r = range(9000) %}{% for a in r %}{% for b in r %}{{ b }}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ m(n - 1) ~ m(n - 1) if n }}{% endmacro %}{{ m(60) }}",
        "{{ 'x' * 99999999999 }}",
        "{{ 99999999999 * [1] }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%99999999999d' % 1 }}",
        "{{ '%*d' % (99999999999, 1) }}",
        "{{ 'x' | center(99999999999) }}",
        "{{ 'x'.ljust(99999999999) }}",
        "{{ range(99999999999) }}",
        "{% set n = namespace(x='x') %}{% for a in range(99) %}"
        "{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for a in range(99) %}"
        "{% set n.x = n.x + n.x %}{% endfor %}",
        "{% for a in range(99999) %}" + "x" * 1000 + "{% endfor %}",
        LONG + "{% for i in range(800) %}{% set x = b | upper %}{% endfor %}hi",
        LONG + "{% for i in range(800) %}{% set x = b.upper() %}{% endfor %}hi",
        LONG + "{% for i in range(800) %}{% set x = b[1:] %}{% endfor %}hi",
        LONG + "{% set l = [b] + [b] + [b] %}{% set l = l + l + l + l %}{{ l }}",
        LONG + "{% set x = b.translate({97: b}) %}",
        "{% set b = '<' * 400000 %}{% for i in range(99) %}{% set x = b|urlencode %}{% endfor %}",
        "{% set x = ('a' * 20000) | replace('a', 'b' * 5000) %}{{ x | length }}",
        "{% set x = ('a' * 20000).replace('a', 'b' * 5000) %}{{ x | length }}",
        "{% set x = ('b' * 5000).join('a' * 20000) %}{{ x | length }}",
        "{% set x = ('a' * 20000) | map('upper') | join('b' * 5000) %}{{ x | length }}",
        "{% set x = ('a\n' * 20000) | indent(5000) %}{{ x | length }}",
        "{% set x = ('\t' * 20000).expandtabs(5000) %}{{ x | length }}",
        "{{ '%(a)s' * 1000 % {'a': 'b' * 40000} }}",
        "{{ ('%9999s' * 1000) % (1,) }}",
        "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{{ ('f' * 4000000) | int(0, 16) % 3 }}",
        "{% set x %}{% for i in range(99999) %}" + "x" * 50_000 + "{% endfor %}{% endset %}",
        "{% macro m() %}{% for i in range(99999) %}" + "x" * 50_000 + "{% endfor %}{% endmacro %}"
        "{% set x = m() %}",
        "".join(f"{{% set x{i + 1} = [x{i}, x{i}] %}}" for i in range(60)) + "{{ x60 }}",
        "".join(f"{{% set x{i + 1} = dict(a=x{i}, b=x{i}) %}}" for i in range(60)) + "{{ x60 }}",
        "".join(f"{{% set x{i + 1} = namespace(a=x{i}, b=x{i}) %}}" for i in range(60))
        + "{{ x60 }}",
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
        "{% for x in [range(90000)] * 9 recursive %}{{ loop(x) }}{% endfor %}",
    ],
)
def test_a_template_cannot_take_all_time_or_memory(template: str) -> None:
    began = time.process_time()
    with pytest.raises(ProviderError, match="chat_template"):
        render(template, ASKED)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 1024 * 1024, "2 GiB"


def test_what_is_not_counted_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.providers.sandbox_work.LONGEST_RUN", 0.2)
    began = time.process_time()
    with pytest.raises(ProviderError, match=r"longer than 0\.2 s"):
        render("{% for i in range(99999) %}" + "{% set x = 1 %}" * 2000 + "{% endfor %}", ASKED)
    assert time.process_time() - began < 3


async def test_the_loop_goes_on_while_a_template_is_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The template waits for what only the loop can give."""
    loop = asyncio.get_running_loop()
    turned: list[bool] = []
    render_now = sandbox.render

    def waits(template: str, context: Mapping[str, Any]) -> str:
        turn = threading.Event()
        loop.call_soon_threadsafe(turn.set)
        turned.append(turn.wait(10))
        return render_now(template, context)

    monkeypatch.setattr(sandbox, "render", waits)
    async with made("ollama", base_url="http://127.0.0.1:9") as provider:
        with pytest.raises(ProviderUnavailable):
            await listen(provider, replace(ASKED, chat_template="{{ messages[0].content }}"))
    assert turned == [True]


def test_a_long_conversation_is_no_misuse() -> None:
    asked = ChatRequest("a-model", (ChatMessage("user", "x" * 900),) * 3000)
    assert len(render(CHATML, asked)) > 2_700_000
    assert chat_template.LONGEST_PROMPT > 2_700_000
