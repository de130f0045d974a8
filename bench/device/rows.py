"""Ops on rows of logits: logprobs, its backward and the clipped policy update."""

import math

import torch

import peers as others
import records as abi
from subject import Subject, logit_rows, random_rows, synchronize, unwritten, with_peers

EPS_LOW, EPS_HIGH = 0.2, 0.28


def logprobs_of(logits, targets):
    """In f32, or in float64 where the logits are."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return others.gathered(torch.log_softmax(wide, dim=-1), targets)


def clipped_loss(logprobs, old, advantages, weights):
    ratio = torch.exp(logprobs - old)
    return -(weights * torch.minimum(ratio * advantages, torch.clamp(ratio, 1 - EPS_LOW, 1 + EPS_HIGH) * advantages)).sum()


def triton_logprobs(logits, targets, out):
    """One program a row, an online log-sum-exp: what a user of Triton would write first. None where Triton is missing."""
    try:
        import triton_rows
    except ImportError:
        return None

    def run():
        triton_rows.logprobs(logits, targets, out)
        return {"logprobs": out}

    return None if logits.device.type == "cpu" else run


def logprobs(plugin, device, rows, vocabulary, dtype):
    logits, offsets, targets = random_rows(rows, vocabulary, dtype, device)
    lse, out = (unwritten(rows, device=device) for _ in range(2))
    record = abi.Logprobs(logit_rows(logits, dtype, offsets, targets), abi.at(lse), abi.at(out), None, None)

    def eager(logits, targets):
        with torch.no_grad():
            return {"logprobs": logprobs_of(logits, targets)}

    peers = with_peers(eager, logits, targets)
    peers["TRL's formula"] = lambda: {"logprobs": others.selective_logprobs(logits, targets)}
    of_triton = triton_logprobs(logits, targets, torch.empty_like(out))
    if of_triton is not None:
        peers["triton"] = of_triton
    return Subject(
        "logprobs",
        f"[{rows}, {vocabulary}]",
        dtype,
        lambda: plugin.run("logprobs", record),
        lambda: {"logprobs": out, "lse": lse},
        lambda: {"logprobs": logprobs_of(logits.double(), targets), "lse": torch.logsumexp(logits.double(), dim=-1)},
        rows * vocabulary * logits.element_size(),
        0,
        peers,
        (logits, offsets, targets),
    )


def logprobs_backward(plugin, device, rows, vocabulary, dtype):
    logits, offsets, targets = random_rows(rows, vocabulary, dtype, device)
    upstream = torch.randn(rows, device=device)
    lse, out = (unwritten(rows, device=device) for _ in range(2))
    dlogits = unwritten(rows, vocabulary, device=device, dtype=logits.dtype)
    shared = logit_rows(logits, dtype, offsets, targets)
    forward = abi.Logprobs(shared, abi.at(lse), abi.at(out), None, None)
    record = abi.LogprobsBackward(shared, abi.at(lse), None, abi.at(upstream), None, abi.at(dlogits))
    synchronize(device)
    plugin.run("logprobs", forward)
    plugin.wait()

    def from_lse(logits, lse):
        """What ours is given and gives, written out: an autograd of the forward would compute the log-sum-exp again."""
        slope = torch.exp(logits.float() - lse[:, None]).mul(-upstream[:, None])
        return {"dlogits": slope.scatter_add(-1, targets.long()[:, None], upstream[:, None]).to(logits.dtype)}

    def truth():
        leaf = logits.double().requires_grad_()
        return {"dlogits": torch.autograd.grad(logprobs_of(leaf, targets), leaf, upstream.double())[0]}

    def of_trl():
        leaf = logits.detach().requires_grad_()
        found = others.selective_logprobs(leaf, targets)
        return {"dlogits": torch.autograd.grad(found, leaf, upstream.to(found.dtype))[0]}

    peers = with_peers(from_lse, logits, lse)
    peers["TRL's formula, forward too"] = of_trl
    return Subject(
        "logprobsBackward",
        f"[{rows}, {vocabulary}]",
        dtype,
        lambda: plugin.run("logprobs_backward", record),
        lambda: {"dlogits": dlogits},
        truth,
        2 * rows * vocabulary * logits.element_size(),
        0,
        peers,
        (logits, offsets, targets, upstream, lse, out),
    )


def policy_update(plugin, device, rows, vocabulary, dtype):
    logits, offsets, targets = random_rows(rows, vocabulary, dtype, device)
    old = (others.selective_logprobs(logits.float(), targets) + 0.1 * torch.randn(rows, device=device)).contiguous()
    advantages = torch.randn(rows, device=device)
    weights = torch.full((rows,), 1 / rows, device=device)
    dlogits = unwritten(rows, vocabulary, device=device, dtype=logits.dtype)
    logprobs_, lse, dlogprobs = (unwritten(rows, device=device) for _ in range(3))
    metrics = unwritten(abi.LOSS_METRICS, device=device, dtype=torch.float64)
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
        loss = clipped_loss(logprobs_of(leaf, targets), old, advantages, weights)
        return {"dlogits": torch.autograd.grad(loss, leaf)[0], "loss": loss.detach()[None]}

    def truth():
        leaf = logits.double().requires_grad_()
        loss = clipped_loss(logprobs_of(leaf, targets), old.double(), advantages.double(), weights.double())
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
