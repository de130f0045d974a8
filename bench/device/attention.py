"""Attention over trees of packed positions, forward and backward, and over cached keys of rows that decode."""

import math

import torch

import records as abi
from subject import Subject, ordinal, synchronize, unwritten, with_peers

BRANCHES = 8


def forest(positions, device):
    """subtree_end [T] of a prompt of an eighth of the positions, and branches that share it, the last one shorter or longer."""
    prompt = positions // 8
    length = max(1, (positions - prompt) // BRANCHES)
    at = torch.arange(positions)
    branch = ((at - prompt) // length).clamp(max=BRANCHES - 1)
    ends = torch.where(branch == BRANCHES - 1, torch.full_like(at, positions), prompt + (branch + 1) * length)
    return torch.where(at < prompt, torch.full_like(at, positions), ends).int().to(device)


def seen(subtree_end):
    """[T, T]: whether i attends to j, that is j ≤ i < subtree_end[j]."""
    at = torch.arange(len(subtree_end), device=subtree_end.device)
    return (at[None, :] <= at[:, None]) & (at[:, None] < subtree_end[None, :])


def heads_first(x, copies=1):
    """[T, heads, D] as [heads, T, D], every head of keys or values as often as there are queries that read it."""
    return x.transpose(0, 1).repeat_interleave(copies, dim=0)


def attended(q, k, v, mask):
    """out [T, heads, D] by the whole matrix of scores; keys and values have fewer heads."""
    copies = q.shape[1] // k.shape[1]
    scores = heads_first(q) @ heads_first(k, copies).transpose(1, 2) / math.sqrt(q.shape[2])
    return (torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1) @ heads_first(v, copies)).transpose(0, 1)


def scaled_dot_product(q, k, v, mask):
    """PyTorch's own kernel, in the shape [1, heads, T, D]. It takes the mask as a matrix of bytes."""
    copies = q.shape[1] // k.shape[1]
    found = torch.nn.functional.scaled_dot_product_attention(
        heads_first(q)[None], heads_first(k, copies)[None], heads_first(v, copies)[None], attn_mask=mask
    )
    return found[0].transpose(0, 1)


def ways_of_torch():
    ways = {"torch eager": attended}
    if hasattr(torch.nn.functional, "scaled_dot_product_attention"):
        ways["torch sdpa"] = scaled_dot_product
    return ways


def random_tree(positions, heads, kv_heads, width, device):
    q = torch.randn(positions, heads, width, device=device)
    k, v = (torch.randn(positions, kv_heads, width, device=device) for _ in range(2))
    return q, k, v, forest(positions, device)


def pairs(subtree_end):
    """How often a position sees another or itself."""
    at = torch.arange(len(subtree_end), device=subtree_end.device)
    return int((subtree_end - at).sum())


def shape_of(positions, heads, kv_heads, width):
    return f"[{positions}, {heads}/{kv_heads}, {width}]"


def tree_attention(plugin, device, positions, heads, kv_heads, width, dtype):
    if dtype != "f32":
        return None
    q, k, v, ends = random_tree(positions, heads, kv_heads, width, device)
    mask = seen(ends)
    out, lse = unwritten(positions, heads, width, device=device), unwritten(positions, heads, device=device)
    record = abi.TreeAttention(
        positions, heads, kv_heads, width, positions, 1 / math.sqrt(width), abi.at(q), abi.at(k), abi.at(v), abi.at(ends), abi.at(out),
        abi.at(lse)
    )  # fmt: skip

    def peer(way):
        def run():
            with torch.no_grad():
                return {"out": way(q, k, v, mask)}

        return run

    def truth():
        copies = heads // kv_heads
        scores = heads_first(q).double() @ heads_first(k, copies).double().transpose(1, 2) / math.sqrt(width)
        lse64 = torch.logsumexp(scores.masked_fill(~mask, -math.inf), dim=-1).T
        return {"out": attended(q.double(), k.double(), v.double(), mask), "lse": lse64}

    return Subject(
        "treeAttention",
        shape_of(positions, heads, kv_heads, width),
        dtype,
        lambda: plugin.run("tree_attention", record),
        lambda: {"out": out, "lse": lse},
        truth,
        2 * positions * (heads + kv_heads) * width * 4,
        4 * pairs(ends) * heads * width,
        {name: peer(way) for name, way in ways_of_torch().items()},
        (q, k, v, ends, mask),
    )


def tree_attention_backward(plugin, device, positions, heads, kv_heads, width, dtype):
    if dtype != "f32":
        return None
    q, k, v, ends = random_tree(positions, heads, kv_heads, width, device)
    mask = seen(ends)
    upstream = torch.randn_like(q)
    out, lse = unwritten(positions, heads, width, device=device), unwritten(positions, heads, device=device)
    dq, dk, dv = (unwritten(*x.shape, device=device) for x in (q, k, v))
    shared = [positions, heads, kv_heads, width, positions, 1 / math.sqrt(width), *map(abi.at, (q, k, v, ends, out, lse))]
    record = abi.TreeAttentionBackward(*shared, *map(abi.at, (upstream, dq, dk, dv)))
    synchronize(device)
    plugin.run("tree_attention", abi.TreeAttention(*shared))
    plugin.wait()

    def gradients(way, q, k, v, upstream):
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        found = torch.autograd.grad(way(*leaves, mask), leaves, upstream)
        return dict(zip(["dq", "dk", "dv"], found))

    def peer(way):
        """The backward alone, where there is memory to keep what the forward left."""
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        kept = []

        def run():
            if not kept:
                kept.append(way(*leaves, mask))
            return dict(zip(["dq", "dk", "dv"], torch.autograd.grad(kept[0], leaves, upstream, retain_graph=True)))

        return run

    return Subject(
        "treeAttentionBackward",
        shape_of(positions, heads, kv_heads, width),
        dtype,
        lambda: plugin.run("tree_attention_backward", record),
        lambda: {"dq": dq, "dk": dk, "dv": dv},
        lambda: gradients(attended, q.double(), k.double(), v.double(), upstream.double()),
        # q, out, dout, dq and k, v, dk, dv.
        4 * positions * (heads + kv_heads) * width * 4,
        10 * pairs(ends) * heads * width,
        {name: peer(way) for name, way in ways_of_torch().items()},
        (q, k, v, ends, mask, upstream, out, lse),
    )


def decode_attention(plugin, device, rows, prompt, own, heads, kv_heads, width, dtype):
    """Rows that share a prompt and have tokens of their own, whose slots lie in turns, as they do where rows decode side by side."""
    if dtype != "f32":
        return None
    cached, length = prompt + rows * own, prompt + own
    keys, values = (torch.randn(cached, kv_heads, width, device=device) for _ in range(2))
    q = torch.randn(rows, heads, width, device=device)
    of_row = prompt + torch.arange(own, device=device)[None, :] * rows + torch.arange(rows, device=device)[:, None]
    slots = torch.cat([torch.arange(prompt, device=device).expand(rows, prompt), of_row], dim=1).int().contiguous()
    offsets = length * ordinal(rows, device)
    out = unwritten(rows, heads, width, device=device)
    record = abi.DecodeAttention(
        rows, rows * length, cached, heads, kv_heads, width, length, 1 / math.sqrt(width), abi.at(q), abi.at(keys), abi.at(values),
        abi.at(offsets), abi.at(slots), abi.at(out)
    )  # fmt: skip

    def gathered(q, keys, values):
        """[rows, kv_heads, length, D] of each row's own, which is what a dense kernel needs; then queries by the head they read."""
        paths = slots.long()
        k, v = (cache[paths].transpose(1, 2) for cache in (keys, values))
        queries = q.view(rows, kv_heads, heads // kv_heads, width)
        weights = torch.softmax(queries @ k.transpose(2, 3) / math.sqrt(width), dim=-1)
        return {"out": (weights @ v).reshape(rows, heads, width)}

    return Subject(
        "decodeAttention",
        f"{rows} x ({prompt} + {own}), {heads}/{kv_heads}, {width}",
        dtype,
        lambda: plugin.run("decode_attention", record),
        lambda: {"out": out},
        lambda: gathered(q.double(), keys.double(), values.double()),
        # The prompt's keys and values once for all rows.
        2 * (cached * kv_heads + rows * heads) * width * 4,
        4 * rows * length * heads * width,
        with_peers(gathered, q, keys, values),
        (q, keys, values, offsets, slots),
    )
