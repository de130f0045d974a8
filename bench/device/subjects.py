"""What is timed on a device: an op of ours on tensors of PyTorch, what it must agree with, what it costs and its peers.

A subject is a function of its sizes that gives a Subject, or None for a type that it does not have. Inputs are random, targets one a row.
"""

import dataclasses
import math
import os
import typing

import torch

import plugin as abi

EPS_LOW, EPS_HIGH = 0.2, 0.28


@dataclasses.dataclass
class Subject:
    op: str
    shape: str
    dtype: str
    ours: typing.Callable[[], None]  # enqueues
    outputs: typing.Callable[[], dict]  # what ours wrote
    truth: typing.Callable[[], dict]  # the same in float64
    bytes: int  # that must move
    flops: int  # of matrix products; 0: memory is what counts
    peers: typing.Dict[str, typing.Callable[[], None]]
    inputs: tuple  # that must live as long as ours is called


def torch_dtype(dtype):
    return {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]


def compiled(function):
    """The function by torch.compile; None where this PyTorch has none."""
    return torch.compile(function) if hasattr(torch, "compile") else None


def with_peers(eager, *arguments):
    peers = {"torch eager": lambda: eager(*arguments)}
    fast = compiled(eager)
    if fast is not None:
        peers["torch compiled"] = lambda: fast(*arguments)
    return peers


def gathered(logits, targets):
    return torch.log_softmax(logits.float(), dim=-1).gather(-1, targets.long()[:, None])[:, 0]


def clipped_loss(logprobs, old, advantages, weights):
    ratio = torch.exp(logprobs - old)
    return -(weights * torch.minimum(ratio * advantages, torch.clamp(ratio, 1 - EPS_LOW, 1 + EPS_HIGH) * advantages)).sum()


def ordinal(rows, device):
    return torch.arange(rows + 1, dtype=torch.int32, device=device)


def logit_rows(logits, dtype, offsets, targets):
    T, V = logits.shape
    return abi.LogitRows(T, T, V, abi.DTYPES[dtype], -1, 1.0, 1.0, 0.0, abi.at(logits), abi.at(offsets), abi.at(targets), None, None)


def random_head(rows, vocabulary, dtype, device):
    logits = (2 * torch.randn(rows, vocabulary, device=device)).to(torch_dtype(dtype))
    targets = torch.randint(0, vocabulary, (rows,), dtype=torch.int32, device=device)
    return logits, ordinal(rows, device), targets


def triton_logprobs(logits, targets, out):
    """One program a row, an online log-sum-exp: what a user of Triton would write first. None where Triton is missing."""
    try:
        import triton_rows
    except ImportError:
        return None
    return lambda: triton_rows.logprobs(logits, targets, out)


def logprobs(plugin, device, rows, vocabulary, dtype):
    logits, offsets, targets = random_head(rows, vocabulary, dtype, device)
    lse, out = (torch.full((rows,), math.nan, device=device) for _ in range(2))
    record = abi.Logprobs(logit_rows(logits, dtype, offsets, targets), abi.at(lse), abi.at(out), None, None)

    def eager(logits, targets):
        with torch.no_grad():
            return gathered(logits, targets)

    peers = with_peers(eager, logits, targets)
    of_triton = triton_logprobs(logits, targets, torch.empty_like(out))
    if of_triton is not None:
        peers["triton"] = of_triton
    return Subject(
        "logprobs",
        f"[{rows}, {vocabulary}]",
        dtype,
        lambda: plugin.run("logprobs", record),
        lambda: {"logprobs": out, "lse": lse},
        lambda: {"logprobs": gathered64(logits, targets), "lse": torch.logsumexp(logits.double(), dim=-1)},
        rows * vocabulary * logits.element_size(),
        0,
        peers,
        (logits, offsets, targets),
    )


def gathered64(logits, targets):
    return torch.log_softmax(logits.double(), dim=-1).gather(-1, targets.long()[:, None])[:, 0]


def policy_update(plugin, device, rows, vocabulary, dtype):
    logits, offsets, targets = random_head(rows, vocabulary, dtype, device)
    old = (gathered(logits, targets) + 0.1 * torch.randn(rows, device=device)).contiguous()
    advantages = torch.randn(rows, device=device)
    weights = torch.full((rows,), 1 / rows, device=device)
    dlogits = torch.full_like(logits, math.nan)
    logprobs_, lse, dlogprobs = (torch.full((rows,), math.nan, device=device) for _ in range(3))
    metrics = torch.full((abi.LOSS_METRICS,), math.nan, dtype=torch.float64, device=device)
    loss_of_targets = abi.PolicyLossTargets(
        rows, 1, 0, 0, math.inf, 0.0, math.inf, math.inf, abi.at(logprobs_), abi.at(old), None, abi.at(advantages), abi.at(weights),
        None, abi.at(dlogprobs), None, abi.at(metrics)
    )  # fmt: skip
    record = abi.PolicyUpdateClip(
        logit_rows(logits, dtype, offsets, targets), None, abi.at(logprobs_), abi.at(lse), None, abi.at(dlogits),
        abi.PolicyLossClip(EPS_LOW, EPS_HIGH, math.inf, math.inf, loss_of_targets)
    )  # fmt: skip

    def gradient(logits):
        leaf = logits.detach().requires_grad_()
        loss = clipped_loss(gathered(leaf, targets), old, advantages, weights)
        return torch.autograd.grad(loss, leaf)[0]

    def truth():
        leaf = logits.double().requires_grad_()
        logprobs64 = torch.log_softmax(leaf, dim=-1).gather(-1, targets.long()[:, None])[:, 0]
        loss = clipped_loss(logprobs64, old.double(), advantages.double(), weights.double())
        return {"dlogits": torch.autograd.grad(loss, leaf)[0], "loss": loss.detach()[None]}

    return Subject(
        "policyUpdate.clip",
        f"[{rows}, {vocabulary}]",
        dtype,
        lambda: plugin.run("policy_update_clip", record),
        lambda: {"dlogits": dlogits, "loss": metrics[:1]},
        truth,
        2 * rows * vocabulary * logits.element_size(),
        0,
        with_peers(gradient, logits),
        (logits, offsets, targets, old, advantages, weights, logprobs_, lse, dlogprobs),
    )


def head(hidden, weight, dtype, offsets, targets):
    (T, H), V = hidden.shape, weight.shape[0]
    kind = abi.DTYPES[dtype]
    return abi.HeadRows(
        T, T, V, H, 0, kind, kind, -1, 1.0, 1.0, 0.0, abi.at(hidden), abi.at(weight), None, abi.at(offsets), abi.at(targets), None
    )


def random_hidden(rows, vocabulary, width, dtype, device):
    hidden = torch.randn(rows, width, device=device).to(torch_dtype(dtype))
    weight = (torch.randn(vocabulary, width, device=device) / math.sqrt(width)).to(torch_dtype(dtype))
    targets = torch.randint(0, vocabulary, (rows,), dtype=torch.int32, device=device)
    return hidden, weight, ordinal(rows, device), targets


def by_way(way, run):
    """The same by one way of linearLogprobs, as STEPCREDIT_CUDA_HEAD names it; None: the one that the plug-in takes by itself."""
    if way is None:
        return run

    def call():
        os.environ["STEPCREDIT_CUDA_HEAD"] = way
        try:
            run()
        finally:
            del os.environ["STEPCREDIT_CUDA_HEAD"]

    return call


def linear_logprobs_by_products(*sizes):
    return linear_logprobs(*sizes, way="products")


def linear_logprobs_by_tiles(*sizes):
    """Of half types alone: None for others."""
    return None if sizes[-1] == "f32" else linear_logprobs(*sizes, way="tiles")


def linear_logprobs(plugin, device, rows, vocabulary, width, dtype, way=None):
    hidden, weight, offsets, targets = random_hidden(rows, vocabulary, width, dtype, device)
    lse, out = (torch.full((rows,), math.nan, device=device) for _ in range(2))
    record = abi.LinearLogprobs(head(hidden, weight, dtype, offsets, targets), abi.at(lse), abi.at(out), None)

    def eager(hidden, weight):
        with torch.no_grad():
            return gathered(hidden @ weight.T, targets)

    return Subject(
        "linearLogprobs" if way is None else f"linearLogprobs.{way}",
        f"[{rows}, {width}] x [{width}, {vocabulary}]",
        dtype,
        by_way(way, lambda: plugin.run("linear_logprobs", record)),
        lambda: {"logprobs": out, "lse": lse},
        lambda: {
            "logprobs": gathered64(hidden.double() @ weight.double().T, targets),
            "lse": torch.logsumexp(hidden.double() @ weight.double().T, dim=-1),
        },
        (rows + vocabulary) * width * hidden.element_size(),
        2 * rows * vocabulary * width,
        with_peers(eager, hidden, weight),
        (hidden, weight, offsets, targets),
    )


def linear_logprobs_backward(plugin, device, rows, vocabulary, width, dtype):
    hidden, weight, offsets, targets = random_hidden(rows, vocabulary, width, dtype, device)
    lse, out = (torch.full((rows,), math.nan, device=device) for _ in range(2))
    upstream = torch.randn(rows, device=device)
    dhidden = torch.full((rows, width), math.nan, device=device)
    dweight = torch.zeros(vocabulary, width, device=device)
    shared = head(hidden, weight, dtype, offsets, targets)
    forward = abi.LinearLogprobs(shared, abi.at(lse), abi.at(out), None)
    record = abi.LinearLogprobsBackward(
        shared, abi.at(lse), abi.at(out), None, abi.at(upstream), None, abi.at(dhidden), abi.at(dweight), None
    )
    synchronize(device)
    plugin.run("linear_logprobs", forward)
    plugin.wait()

    def gradients(hidden, weight):
        leaves = [hidden.detach().requires_grad_(), weight.detach().requires_grad_()]
        return torch.autograd.grad(gathered(leaves[0] @ leaves[1].T, targets), leaves, upstream)

    def truth():
        leaves = [hidden.double().requires_grad_(), weight.double().requires_grad_()]
        logprobs64 = torch.log_softmax(leaves[0] @ leaves[1].T, dim=-1).gather(-1, targets.long()[:, None])[:, 0]
        dhidden64, dweight64 = torch.autograd.grad(logprobs64, leaves, upstream.double())
        return {"dhidden": dhidden64, "dweight": dweight64}

    return Subject(
        "linearLogprobsBackward",
        f"[{rows}, {width}] x [{width}, {vocabulary}]",
        dtype,
        lambda: plugin.run("linear_logprobs_backward", record),
        lambda: {"dhidden": dhidden, "dweight": dweight},
        truth,
        # The inputs once; dhidden is written, dweight read and written, in f32 whatever the inputs are.
        (rows + vocabulary) * width * hidden.element_size() + (rows + 2 * vocabulary) * width * 4,
        6 * rows * vocabulary * width,
        with_peers(gradients, hidden, weight),
        (hidden, weight, offsets, targets, lse, out, upstream),
    )


def synchronize(device):
    if device != "cpu":
        torch.cuda.synchronize()
