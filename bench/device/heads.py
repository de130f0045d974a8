"""linearLogprobs and its backward: log-probs of a linear head, without its logits."""

import math
import os

import torch

import peers as others
import records as abi
from rows import logprobs_of
from subject import Subject, ordinal, random_targets, synchronize, torch_dtype, unwritten, with_peers


def head(hidden, weight, dtype, offsets, targets):
    (T, H), V = hidden.shape, weight.shape[0]
    kind = abi.DTYPES[dtype]
    return abi.HeadRows(
        T, T, V, H, 0, kind, kind, -1, 1.0, 1.0, 0.0, abi.at(hidden), abi.at(weight), None, abi.at(offsets), abi.at(targets), None
    )


def random_hidden(rows, vocabulary, width, dtype, device):
    hidden = torch.randn(rows, width, device=device).to(torch_dtype(dtype))
    weight = (torch.randn(vocabulary, width, device=device) / math.sqrt(width)).to(torch_dtype(dtype))
    return hidden, weight, ordinal(rows, device), random_targets(rows, vocabulary, device)


def by_way(way, run):
    """The same by one way of linearLogprobs or its backward, as STEPCREDIT_CUDA_HEAD names it; None: the one that the plug-in takes by itself."""
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
    lse, out = (unwritten(rows, device=device) for _ in range(2))
    record = abi.LinearLogprobs(head(hidden, weight, dtype, offsets, targets), abi.at(lse), abi.at(out), None)

    def eager(hidden, weight):
        with torch.no_grad():
            return {"logprobs": logprobs_of(hidden @ weight.T, targets)}

    def truth():
        logits = hidden.double() @ weight.double().T
        return {"logprobs": logprobs_of(logits, targets), "lse": torch.logsumexp(logits, dim=-1)}

    peers = with_peers(eager, hidden, weight)
    peers["Liger's formula"] = lambda: {"logprobs": others.chunked_linear_logprobs(hidden, weight, targets)}
    return Subject(
        "linearLogprobs" if way is None else f"linearLogprobs.{way}",
        f"[{rows}, {width}] x [{width}, {vocabulary}]",
        dtype,
        by_way(way, lambda: plugin.run("linear_logprobs", record)),
        lambda: {"logprobs": out, "lse": lse},
        truth,
        (rows + vocabulary) * width * hidden.element_size(),
        2 * rows * vocabulary * width,
        peers,
        (hidden, weight, offsets, targets),
    )


def linear_logprobs_backward_by_products(*sizes):
    return linear_logprobs_backward(*sizes, way="products")


def linear_logprobs_backward_by_tiles(*sizes):
    """Of half types alone: None for others."""
    return None if sizes[-1] == "f32" else linear_logprobs_backward(*sizes, way="tiles")


def linear_logprobs_backward(plugin, device, rows, vocabulary, width, dtype, way=None):
    hidden, weight, offsets, targets = random_hidden(rows, vocabulary, width, dtype, device)
    lse, out = (unwritten(rows, device=device) for _ in range(2))
    upstream = torch.randn(rows, device=device)
    dhidden = unwritten(rows, width, device=device)
    dweight = torch.zeros(vocabulary, width, device=device)
    shared = head(hidden, weight, dtype, offsets, targets)
    forward = abi.LinearLogprobs(shared, abi.at(lse), abi.at(out), None)
    record = abi.LinearLogprobsBackward(
        shared, abi.at(lse), abi.at(out), None, abi.at(upstream), None, abi.at(dhidden), abi.at(dweight), None
    )
    synchronize(device)
    plugin.run("linear_logprobs", forward)
    plugin.wait()

    def gradients(hidden, weight, upstream):
        leaves = [hidden.detach().requires_grad_(), weight.detach().requires_grad_()]
        return torch.autograd.grad(logprobs_of(leaves[0] @ leaves[1].T, targets), leaves, upstream)

    def eager(hidden, weight):
        return dict(zip(["dhidden", "dweight"], gradients(hidden, weight, upstream)))

    peers = with_peers(eager, hidden, weight)
    peers["Liger's formula"] = lambda: dict(
        zip(["dhidden", "dweight"], others.chunked_linear_gradients(hidden, weight, targets, upstream))
    )
    return Subject(
        "linearLogprobsBackward" if way is None else f"linearLogprobsBackward.{way}",
        f"[{rows}, {width}] x [{width}, {vocabulary}]",
        dtype,
        by_way(way, lambda: plugin.run("linear_logprobs_backward", record)),
        lambda: {"dhidden": dhidden, "dweight": dweight},
        lambda: dict(zip(["dhidden", "dweight"], gradients(hidden.double(), weight.double(), upstream.double()))),
        # The inputs once; dhidden is written, dweight read and written, in f32 whatever the inputs are.
        (rows + vocabulary) * width * hidden.element_size() + (rows + 2 * vocabulary) * width * 4,
        6 * rows * vocabulary * width,
        peers,
        (hidden, weight, offsets, targets, lse, out, upstream),
    )
