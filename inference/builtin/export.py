"""Writes the trained weights, the tokenizer, the chat template and the gate as one GGUF file.

    python export.py RUN_FOLDER OUT.gguf

The gate: how surprised the model may be by a person's line, in nats for each token, before it says that it does not know. The threshold
is chosen on lines that neither the grammar writes nor the score asks (`calibration/`): the lowest that refuses at most one in forty of the
paraphrases of what the model knows.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import CONTEXT, EPSILON, FEED, HEAD, HEADS, KV_HEADS, LAYERS, THETA, WIDTH, Model
from outside import HONEST
from tokenizer import END, END_OF_TEXT, START

# As in the engine: fewer tokens say nothing.
TOKENS_MIN = 4
# What part of the paraphrases may be refused.
REFUSED_MAX = 1 / 40
HERE = pathlib.Path(__file__).parent
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def calibration_lines():
    for language in ("ru", "en"):
        character = ""
        for line in (HERE / "calibration" / f"{language}.txt").read_text().splitlines():
            if line.startswith("@ "):
                character = line[2:]
            elif line and not line.startswith("#"):
                kind, text = line.split(" | ")
                yield character, kind, text


@torch.no_grad()
def surprises(model, tokenizer):
    """How surprising each line for calibration is, right after its character, as the engine counts: without the line's first token."""
    found = {"inside": [], "outside": []}
    for character, kind, text in calibration_lines():
        before = tokenizer.encode(f"{START}system\n{character}{END}\n{START}user\n").ids
        ids = before + tokenizer.encode(text).ids
        if len(ids) - len(before) <= TOKENS_MIN:
            continue
        losses = F.cross_entropy(model(torch.tensor([ids[:-1]]))[0].float(), torch.tensor(ids[1:]), reduction="none")
        found[kind].append(losses[len(before) :].mean().item())
    return np.array(found["inside"]), np.array(found["outside"])


def threshold_of(inside):
    """The lowest value that refuses no more of the paraphrases than it may."""
    falling = np.sort(inside)[::-1]
    refused = int(len(inside) * REFUSED_MAX)
    return round(float(falling[refused - 1] + falling[refused]) / 2, 2)


def tensors(weights):
    """Names and matrices as GGUF has them."""
    yield "token_embd.weight", weights["embedding.weight"]
    yield "output_norm.weight", weights["norm.weight"]
    q, k = HEADS * HEAD, KV_HEADS * HEAD
    for index in range(LAYERS):
        own, out = f"layers.{index}.", f"blk.{index}."
        qkv, gate_up = weights[own + "attention.qkv.weight"], weights[own + "gate_up.weight"]
        yield out + "attn_norm.weight", weights[own + "attention_norm.weight"]
        yield out + "attn_q.weight", qkv[:q]
        yield out + "attn_k.weight", qkv[q : q + k]
        yield out + "attn_v.weight", qkv[q + k :]
        yield out + "attn_output.weight", weights[own + "attention.o.weight"]
        yield out + "attn_q_norm.weight", weights[own + "attention.q_norm.weight"]
        yield out + "attn_k_norm.weight", weights[own + "attention.k_norm.weight"]
        yield out + "ffn_norm.weight", weights[own + "feed_norm.weight"]
        yield out + "ffn_gate.weight", gate_up[:FEED]
        yield out + "ffn_up.weight", gate_up[FEED:]
        yield out + "ffn_down.weight", weights[own + "down.weight"]


def vocabulary(writer, tokenizer, size):
    stored = json.loads(tokenizer.to_str())
    special = {added["content"]: added["id"] for added in stored["added_tokens"]}
    pieces, kinds = [f"[unused{index}]" for index in range(size)], [gguf.TokenType.UNUSED] * size
    for piece, index in stored["model"]["vocab"].items():
        pieces[index], kinds[index] = piece, gguf.TokenType.NORMAL
    for piece, index in special.items():
        pieces[index], kinds[index] = piece, gguf.TokenType.CONTROL
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in stored["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(special[END])
    writer.add_bos_token_id(special[END_OF_TEXT])
    writer.add_pad_token_id(special[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def main():
    folder, out = sys.argv[1:3]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    weights = torch.load(f"{folder}/weights.pt")["model"]
    size = weights["embedding.weight"].shape[0]
    model = Model(size)
    model.load_state_dict(weights)
    inside, outside = surprises(model, tokenizer)
    threshold = threshold_of(inside)
    for name, values in (("paraphrases", inside), ("lines outside", outside)):
        middle = np.percentile(values, [10, 50, 90])
        print(f"{len(values)} {name}: {middle[0]:.2f} / {middle[1]:.2f} / {middle[2]:.2f} nats a token (tenth, half, nine tenths)")
    print(f"gate at {threshold:.2f}: refuses {(inside > threshold).sum()} paraphrases and {(outside > threshold).sum()} lines outside")
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_name("Starling built-in")
    writer.add_description("A small model for first steps, in Russian and English; see inference/builtin in Starling's repository.")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_freq_base(THETA)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_float32("starling.gate.nats", threshold)
    for language, text in HONEST.items():
        writer.add_string(f"starling.gate.answer.{language}", text)
    vocabulary(writer, tokenizer, size)
    for name, tensor in tensors(weights):
        values = np.ascontiguousarray(tensor.float().numpy())
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
