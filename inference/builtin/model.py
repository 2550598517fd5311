"""The network: qwen3's architecture, small. Grouped attention, normed queries and keys, rotary positions, SwiGLU, tied embeddings."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, LAYERS, HEADS, KV_HEADS, HEAD, FEED, CONTEXT = 256, 6, 4, 2, 64, 768, 2048
EPSILON, THETA = 1e-6, 10_000.0


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, (HEADS + 2 * KV_HEADS) * HEAD, bias=False)
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(HEAD, eps=EPSILON), nn.RMSNorm(HEAD, eps=EPSILON)

    def forward(self, x, mask, cos, sin):
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, HEADS + 2 * KV_HEADS, HEAD).split([HEADS, KV_HEADS, KV_HEADS], 2)
        q, k, v = self.q_norm(q).transpose(1, 2), self.k_norm(k).transpose(1, 2), v.transpose(1, 2)
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        k, v = (each.repeat_interleave(HEADS // KV_HEADS, 1) for each in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o(mixed.transpose(1, 2).reshape(batch, length, HEADS * HEAD))


def turned(x, cos, sin):
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.attention = nn.RMSNorm(WIDTH, eps=EPSILON), Attention()
        self.feed_norm = nn.RMSNorm(WIDTH, eps=EPSILON)
        self.gate_up = nn.Linear(WIDTH, 2 * FEED, bias=False)
        self.down = nn.Linear(FEED, WIDTH, bias=False)

    def forward(self, x, mask, cos, sin):
        x = x + self.attention(self.attention_norm(x), mask, cos, sin)
        gate, up = self.gate_up(self.feed_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=EPSILON)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, 0, 0.02)
        for layer in self.layers:
            nn.init.zeros_(layer.attention.o.weight)
            nn.init.zeros_(layer.down.weight)
        angles = torch.outer(torch.arange(CONTEXT).float(), THETA ** -(torch.arange(0, HEAD, 2) / HEAD))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, mask=None):
        # The embedding stays in full precision, so that what many places add to one row is not lost.
        x = self.embedding(ids).to(self.norm.weight.dtype)
        cos, sin = (table[: ids.shape[1]].to(x.dtype) for table in (self.cos, self.sin))
        for layer in self.layers:
            x = layer(x, mask, cos, sin)
        return F.linear(self.norm(x), self.embedding.weight.to(x.dtype))


def is_matrix(name):
    """Whether Muon trains this weight: the matrices inside the layers."""
    return name.startswith("layers.") and "norm" not in name
