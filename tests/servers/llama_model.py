"""Writes a language model of 300 kB that knows nothing: real weights and vocabulary, all random.

A llama architecture with two layers and width 64, for a model server that runs anywhere in
milliseconds. It speaks English words in no order, wanders rather than loops, and stops of its
own accord after some 10 to 200 of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import gguf
import numpy as np
from numpy.typing import NDArray

_WIDTH: Final = 64
_LAYERS: Final = 2
_HEADS: Final = 4
_FEED_FORWARD: Final = 128
CONTEXT: Final = 8192  # tokens

_SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
_BOS, _EOS = 1, 2
# With a line break, which a grammar for JSON strings forbids, so that it stays out of those.
_TOOL_CALL: Final = "\n<tool_call>"
_FIRST_BYTE: Final = len(_SPECIAL)
_ROLES = ("system", "user", "assistant", "tool")
WORDS: Final = tuple(
    """
    a the this that room model router turn event log answer question plan idea design code test
    review vote step tool call actor message stream cost budget token prompt context history memory
    graph layer store chain hash replay fork branch merge cache queue worker server client signal
    pattern system user assistant architect coder reviewer writer critic speaker voice word sentence
    story reason proof claim fact doubt choice rule order time place number name kind part whole
    point line path edge node tree root leaf seed water stone light wind fire river mountain forest
    city road bridge door window table paper book letter map key lock gate wall floor roof garden
    island ocean star moon sun day night morning evening year is are was were be has have had do
    does can could should would may might will must makes takes gives finds keeps knows shows says
    asks tells sees hears moves turns runs writes reads builds breaks holds opens closes starts ends
    follows leads and or but so if when while because after before until with without from to into
    over under between through about against of in on at by for as than not no yes all some many few
    each every other same new old good great small large simple clear quick slow open safe strong
    deep bright quiet first last next
    """.split()
)

_CHAT_TEMPLATE = """
{%- if tools %}<|im_start|>system
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call of a tool write
<tool_call>{"name": <name>, "arguments": <arguments>}</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
{%- set tool = call.function %}
<tool_call>{"name": "{{ tool.name }}", "arguments": {{ tool.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}
"""

# One component of the hidden state is the same for every token and untouched by the layers; its
# column of the output matrix therefore works as a bias. This is its value after the last norm.
_CONSTANT, _CONSTANT_AFTER_NORM = 3.0, 1.5
# Spread of the logits, and biases, found by trying. The end of the text is rare and decided; sharp
# attention (large queries and keys) makes each word depend on all before it, so nothing loops.
_WORD_SPREAD, _END_SPREAD, _END_BIAS, _SHARPNESS = 3.0, 25.0, -34.0, 4.0
# Where a text would end but a grammar does not let it, a tool is called or a JSON string closed.
_CALL_BELOW_END, _QUOTE_BELOW_END = 4.0, 5.0
# Bytes are never said of free will, but stand ready where a grammar allows nothing else: what
# closes first, then what separates, white space last. Even the end, where allowed, comes before.
_NEVER, _BYTE = -240.0, -120.0
_BYTES_PREFERRED = {b"}]<": 4.0, b",": 2.0, b" \t\n": -4.0}

_Matrix = NDArray[np.float32]


def write_model(path: Path, *, seed: int = 1) -> Path:
    """Writes the model as GGUF; the same seed gives the same file.

    Seed 1 is the one whose manner of speaking was measured; others speak, but may end later.
    """
    chance = np.random.default_rng(seed)
    tokens = _tokens()

    def normal(rows: int, columns: int, spread: float = 1.0) -> _Matrix:
        values = chance.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(spread)

    embedding = normal(len(tokens), _WIDTH)
    embedding[:, 0] = _CONSTANT
    tensors: dict[str, _Matrix] = {
        "token_embd.weight": embedding,
        "output.weight": _output(normal(len(tokens), _WIDTH, _WIDTH**-0.5)),
        "output_norm.weight": np.ones(_WIDTH, np.float32),
    }
    for layer in range(_LAYERS):
        scale = _WIDTH**-0.5
        mixed = normal(_WIDTH, _WIDTH, scale)
        down = normal(_WIDTH, _FEED_FORWARD, _FEED_FORWARD**-0.5)
        mixed[0] = down[0] = 0  # the constant component stays as it is
        weights = {
            "attn_norm": np.ones(_WIDTH, np.float32),
            "attn_q": normal(_WIDTH, _WIDTH, scale * _SHARPNESS),
            "attn_k": normal(_WIDTH, _WIDTH, scale * _SHARPNESS),
            "attn_v": normal(_WIDTH, _WIDTH, scale),
            "attn_output": mixed,
            "ffn_norm": np.ones(_WIDTH, np.float32),
            "ffn_gate": normal(_FEED_FORWARD, _WIDTH, scale),
            "ffn_up": normal(_FEED_FORWARD, _WIDTH, scale),
            "ffn_down": down,
        }
        tensors |= {f"blk.{layer}.{name}.weight": value for name, value in weights.items()}
    _write(path, tokens, tensors)
    return path


def _output(rows: _Matrix) -> _Matrix:
    """The output matrix: what each token's logit is made of."""
    bias = np.zeros(len(rows), np.float32)
    byte_rows = slice(_FIRST_BYTE, _FIRST_BYTE + 256)
    ends = [_EOS, _tokens().index(_TOOL_CALL), _FIRST_BYTE + ord('"')]
    end = rows[_EOS] * np.float32(_END_SPREAD)
    rows *= np.float32(_WORD_SPREAD)

    unspoken = [*range(len(_SPECIAL)), *range(len(rows) - len(_ROLES), len(rows))]
    rows[unspoken], bias[unspoken] = 0, _NEVER
    rows[byte_rows], bias[byte_rows] = 0, _BYTE
    for some_bytes, preference in _BYTES_PREFERRED.items():
        bias[[_FIRST_BYTE + byte for byte in some_bytes]] += preference
    rows[ends] = end
    bias[ends] = _END_BIAS, _END_BIAS - _CALL_BELOW_END, _END_BIAS - _QUOTE_BELOW_END

    rows[:, 0] = bias / np.float32(_CONSTANT_AFTER_NORM)
    return rows


def _tokens() -> list[str]:
    """The vocabulary of a byte-level BPE tokenizer: any text can be read and any be written."""
    letters = _byte_letters()
    words = [letters[ord(" ")] + word for word in WORDS]
    return [*_SPECIAL, *letters, *words, _TOOL_CALL, *_ROLES]


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte, as GPT-2 vocabularies spell them."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _write(path: Path, tokens: list[str], tensors: dict[str, _Matrix]) -> None:
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # takes a word that is in the vocabulary as it is
    writer.add_token_list(tokens)
    types = [control] * len(_SPECIAL) + [normal] * (len(tokens) - len(_SPECIAL))
    types[tokens.index(_TOOL_CALL)] = gguf.TokenType.USER_DEFINED  # one token wherever it stands
    writer.add_token_types(types)
    writer.add_token_merges([f"{_byte_letters()[ord(' ')]} t"])  # one at least is required
    writer.add_bos_token_id(_BOS)
    writer.add_eos_token_id(_EOS)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_CHAT_TEMPLATE)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor if tensor.ndim == 1 else tensor.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
