"""Times one subject in PyTorch: torch_ops.py '{"subject": ..., "shape": {...}, "threads": n}'.

It prints "ready" when its first call is over. Then every line {"seconds": ..., "least": ...} on its input is answered with a
line {"samplesMs": [...]}: calls for so long, and at least so many. Every function prepares its tensors and returns the call
to time.
"""

import json
import math
import sys
import time

import torch
from torch.nn import functional as F


def head_inputs(rows, vocabulary):
    logits = torch.randn(rows, vocabulary)
    return logits, torch.randint(0, vocabulary, (rows, 1))


def gather_logprobs(logits, targets):
    return torch.log_softmax(logits, dim=-1).gather(-1, targets)


def clipped_loss(logprobs, old, advantages, weights):
    ratio = torch.exp(logprobs - old)
    surrogate = torch.minimum(ratio * advantages, torch.clamp(ratio, 0.8, 1.28) * advantages)
    return -(weights * surrogate).sum()


def logprobs(rows, vocabulary):
    logits, targets = head_inputs(rows, vocabulary)

    def run():
        with torch.no_grad():
            return gather_logprobs(logits, targets)

    return run


def logprobs_bf16(rows, vocabulary):
    logits, targets = head_inputs(rows, vocabulary)
    logits = logits.bfloat16()

    def run():
        with torch.no_grad():
            return gather_logprobs(logits, targets)

    return run


def logprobs_backward(rows, vocabulary):
    """Of the backward alone: the graph is built outside of the time."""
    logits, targets = head_inputs(rows, vocabulary)
    logits.requires_grad_()
    logprobs = gather_logprobs(logits, targets)
    upstream = torch.randn(rows, 1)
    return lambda: torch.autograd.grad(logprobs, logits, upstream, retain_graph=True)


def policy_update(rows, vocabulary):
    logits, targets = head_inputs(rows, vocabulary)
    old = gather_logprobs(logits, targets) + 0.1 * torch.randn(rows, 1)
    advantages, weights = torch.randn(rows, 1), torch.full((rows, 1), 1 / rows)
    logits.requires_grad_()

    def run():
        loss = clipped_loss(gather_logprobs(logits, targets), old, advantages, weights)
        return torch.autograd.grad(loss, logits)

    return run


def policy_loss(count):
    old = -torch.rand(count)
    logprobs = (old + 0.1 * torch.randn(count)).requires_grad_()
    advantages, weights = torch.randn(count), torch.full((count,), 1 / count)
    return lambda: torch.autograd.grad(clipped_loss(logprobs, old, advantages, weights), logprobs)


def scatter_advantages(count, steps):
    credits, step_of = torch.randn(steps, 2), torch.randint(0, steps, (count,))
    return lambda: credits.index_select(0, step_of)


def adamw(count):
    params = torch.randn(count, requires_grad=True)
    params.grad = torch.randn(count)
    optimizer = torch.optim.AdamW([params], lr=1e-3, weight_decay=0.01)
    return optimizer.step


def grad_norm(count):
    grads = torch.randn(count)
    return lambda: torch.linalg.vector_norm(grads)


def linear(rows, inputs, outputs):
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    return lambda: F.linear(x, weight)


def linear_backward(rows, inputs, outputs):
    x, weight, dy = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(rows, outputs)
    return lambda: (dy @ weight, dy.T @ x)


def rms_norm(x, weight, eps=1e-5):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def norm(rows, hidden):
    x, weight = torch.randn(rows, hidden), torch.randn(hidden)
    return lambda: rms_norm(x, weight)


def rotate(x, cosines, sines):
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosines - high * sines, high * cosines + low * sines), dim=-1)


def angles(positions, head_size):
    frequencies = 10000.0 ** (-torch.arange(head_size // 2) / (head_size / 2))
    table = torch.arange(positions)[:, None] * frequencies
    return table.cos(), table.sin()


def rope(rows, heads, headSize):
    x = torch.randn(heads, rows, headSize)
    cosines, sines = angles(rows, headSize)
    return lambda: rotate(x, cosines, sines)


def swiglu(count):
    gate, up = torch.randn(count), torch.randn(count)
    return lambda: F.silu(gate) * up


def embed(rows, vocabulary, hidden):
    table, ids = torch.randn(vocabulary, hidden), torch.randint(0, vocabulary, (rows,))
    return lambda: F.embedding(ids, table)


def attend(q, k, v, mask):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1) @ v


def attention_inputs(branches, length, shared, heads, kvHeads, headSize):
    """The packed tree under a dense mask, as a program without a tree kernel would run it."""
    rows = shared + branches * (length - shared)
    path = torch.cat((torch.full((shared,), -1), torch.arange(branches).repeat_interleave(length - shared)))
    mask = (torch.ones(rows, rows).tril() > 0) & ((path[None, :] == path[:, None]) | (path[None, :] < 0))
    q = torch.randn(heads, rows, headSize)
    k, v = (torch.randn(kvHeads, rows, headSize) for _ in range(2))
    return q, k, v, mask, heads // kvHeads


def tree_attention(**shape):
    q, k, v, mask, repeats = attention_inputs(**shape)

    def run():
        return attend(q, k.repeat_interleave(repeats, 0), v.repeat_interleave(repeats, 0), mask)

    return run


def tree_attention_backward(**shape):
    q, k, v, mask, repeats = attention_inputs(**shape)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    out = attend(q, k.repeat_interleave(repeats, 0), v.repeat_interleave(repeats, 0), mask)
    upstream = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, inputs, upstream, retain_graph=True)


def sample(rows, vocabulary):
    logits = torch.randn(rows, vocabulary)

    def run():
        logprobs = torch.log_softmax(logits, dim=-1)
        return logprobs.gather(-1, torch.multinomial(logprobs.exp(), 1))

    return run


class Block(torch.nn.Module):
    def __init__(self, hidden, heads, kvHeads, intermediate):
        super().__init__()
        self.heads, self.repeats = heads, heads // kvHeads
        width = hidden // heads * kvHeads
        self.norms = torch.nn.Parameter(torch.ones(2, hidden))
        self.q, self.o = (torch.nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.k, self.v = (torch.nn.Linear(hidden, width, bias=False) for _ in range(2))
        self.gate, self.up = (torch.nn.Linear(hidden, intermediate, bias=False) for _ in range(2))
        self.down = torch.nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x, cosines, sines, mask, cache=None):
        """With a cache [keys, values] of what came before, which grows by x."""
        batch, length, hidden = x.shape
        h = rms_norm(x, self.norms[0])
        q, k, v = (p(h).view(batch, length, -1, hidden // self.heads).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = rotate(q, cosines, sines), rotate(k, cosines, sines)
        if cache is not None:
            cache[:] = [torch.cat((old, new), 2) for old, new in zip(cache, (k, v))] if cache else [k, v]
            k, v = cache
        if self.repeats > 1:
            k, v = k.repeat_interleave(self.repeats, 1), v.repeat_interleave(self.repeats, 1)
        attended = attend(q, k, v, mask)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, length, hidden))
        h = rms_norm(x, self.norms[1])
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Transformer(torch.nn.Module):
    def __init__(self, vocabulary, hidden, layers, heads, intermediate, length, kvHeads=None, tieEmbeddings=False):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, hidden)
        self.blocks = torch.nn.ModuleList(Block(hidden, heads, kvHeads or heads, intermediate) for _ in range(layers))
        self.norm = torch.nn.Parameter(torch.ones(hidden))
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False)
        if tieEmbeddings:
            self.head.weight = self.embedding.weight
        self.cosines, self.sines = angles(length, hidden // heads)
        self.mask = torch.ones(length, length).tril() > 0

    def forward(self, tokens, begin=0, caches=None):
        end = begin + tokens.shape[1]
        x = self.embedding(tokens)
        for layer, block in enumerate(self.blocks):
            cache = None if caches is None else caches[layer]
            x = block(x, self.cosines[begin:end], self.sines[begin:end], self.mask[begin:end, :end], cache)
        return self.head(rms_norm(x if caches is None else x[:, -1:], self.norm))


def generate(prompts, promptLength, maxTokens, **policy):
    """Token by token with keys and values kept, all prompts together."""
    model = Transformer(length=promptLength + maxTokens, **policy)
    tokens = torch.randint(0, policy["vocabulary"], (prompts, promptLength))

    @torch.no_grad()
    def run():
        caches = [[] for _ in model.blocks]
        next, begin = tokens, 0
        for _ in range(maxTokens):
            logits = model(next, begin, caches)[:, -1]
            begin += next.shape[1]
            logprobs = torch.log_softmax(logits, dim=-1)
            next = torch.multinomial(logprobs.exp(), 1)
            logprobs.gather(-1, next)

    return run


def train_step(sequences, length, **policy):
    """Forward, clipped loss, backward, clipping by the global norm, AdamW; sequences padded to nothing and unshared."""
    model = Transformer(length=length, **policy)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0)
    tokens = torch.randint(0, policy["vocabulary"], (sequences, length))
    targets = tokens[:, 1:, None]
    old = torch.full((sequences, length - 1, 1), -math.log(policy["vocabulary"]))
    advantages = torch.randn(sequences, 1, 1)
    weights = torch.tensor(1 / (sequences * (length - 1)))

    def run():
        optimizer.zero_grad()
        loss = clipped_loss(gather_logprobs(model(tokens)[:, :-1], targets), old, advantages, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


SUBJECTS = {
    function.__name__: function
    for function in (
        logprobs, logprobs_bf16, logprobs_backward, policy_update, policy_loss, scatter_advantages, adamw, grad_norm, linear,
        linear_backward, norm, rope, swiglu, embed, tree_attention, tree_attention_backward, sample, train_step, generate,
    )
}  # fmt: skip


def samples(run, seconds, least):
    """Milliseconds of every call."""
    times = []
    while len(times) < least or sum(times) < 1000 * seconds:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def main():
    job = json.loads(sys.argv[1])
    torch.manual_seed(1)
    torch.set_num_threads(job["threads"])
    run = SUBJECTS[job["subject"]](**job["shape"])
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps({"samplesMs": samples(run, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
