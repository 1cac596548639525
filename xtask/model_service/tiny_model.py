#!/usr/bin/env python3
"""A real OpenAI-compatible service for tests: llama.cpp's own server on a model of a few megabytes, made on the spot.

The model looks at nothing but the last token. Its embeddings are one-hot, its attention and feed-forward weights are
zero, and its output matrix is a table of which token follows which. A prompt that ends in ">" is answered with "Ok!";
one that ends in ":" opens a tool call, and from there the server's grammar allows only a valid call of a declared
function. The chat template ends the prompt in ":" if there are tools and the last message is not a tool's result.

    pip install -r requirements.txt
    python tiny_model.py PORT MODEL_FILE

Prints one line when the server is up and serves until standard input ends.
"""

import sys

import gguf
import numpy as np
import xllamacpp

WIDTH, HIDDEN, HEADS = 512, 64, 8
CONTEXT, PARALLEL = 16384, 2

TEMPLATE = """\
{%- if tools -%}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Write a call as
<tool_call>
{"name": NAME, "arguments": OBJECT}
</tool_call><|im_end|>
{% endif -%}
{%- for message in messages -%}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{%- if tools and messages[-1].role != 'tool' %}:{% else %}>{% endif %}{% endif -%}
"""

FOLLOWS = {
    ":": "<tool_call>", "<tool_call>": "<0x0A>", "}": "<0x0A>", "</tool_call>": "<|im_end|>",
    ">": "O", "O": "k", "k": "!", "!": "<|im_end|>",
}
# Inside JSON many characters are allowed: prefer those that close what is open.
CLOSING = {'"': 0.6, "]": 0.4, "}": 0.3, ",": 0.2, "0": 0.1}


def vocabulary():
    kind = gguf.TokenType
    tokens = [("<unk>", kind.UNKNOWN, 0.0), ("<s>", kind.CONTROL, 0.0), ("</s>", kind.CONTROL, 0.0)]
    tokens += [(f"<0x{byte:02X}>", kind.BYTE, 0.0) for byte in range(256)]
    tokens += [(text, kind.NORMAL, -1.0) for text in ["\u2581", *map(chr, range(33, 127))]]
    tokens += [(mark, kind.USER_DEFINED, 0.0) for mark in ("<tool_call>", "</tool_call>")]
    tokens += [(mark, kind.CONTROL, 0.0) for mark in ("<|im_start|>", "<|im_end|>")]
    return tokens


def output_matrix(index):
    output = np.zeros((len(index), WIDTH), np.float32)
    for last, following in FOLLOWS.items():
        output[index[following], index[last]] += 1.0
    # A line break opens the call's object, or closes the call: the grammar forbids the wrong one of the two.
    output[index["{"], index["<0x0A>"]] += 1.0
    output[index["</tool_call>"], index["<0x0A>"]] += 0.7
    for text, bias in CLOSING.items():
        output[index[text], :] += bias
    for blank in ("<0x20>", "<0x0A>", "\u2581"):
        output[index[blank], :] -= 0.2
    return output


def write_model(path):
    tokens = vocabulary()
    index = {text: number for number, (text, _, _) in enumerate(tokens)}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.encode() for text, _, _ in tokens])
    writer.add_token_scores([score for _, _, score in tokens])
    writer.add_token_types([int(kind) for _, kind, _ in tokens])
    writer.add_unk_token_id(index["<unk>"])
    writer.add_bos_token_id(index["<s>"])
    writer.add_eos_token_id(index["<|im_end|>"])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    ones, square = np.ones(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    wide = np.zeros((HIDDEN, WIDTH), np.float32)
    tensors = {
        "token_embd.weight": np.eye(len(tokens), WIDTH, dtype=np.float32),
        "output_norm.weight": ones,
        "output.weight": output_matrix(index),
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": wide,
        "blk.0.ffn_up.weight": wide,
        "blk.0.ffn_down.weight": np.zeros((WIDTH, HIDDEN), np.float32),
        **{f"blk.0.{name}.weight": square for name in ("attn_q", "attn_k", "attn_v", "attn_output")},
    }
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(path, port):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.offline = True
    params.ui = False
    params.use_jinja = True
    params.verbosity = 0
    params.n_parallel = PARALLEL
    params.n_ctx = CONTEXT * PARALLEL
    params.n_predict = 256
    params.sampling.temp = 0.0
    params.cpuparams.n_threads = 1
    params.api_keys = ["test-key"]
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    write_model(sys.argv[2])
    serve(sys.argv[2], int(sys.argv[1]))
