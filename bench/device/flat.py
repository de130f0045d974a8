"""Ops on flat arrays of f32: credit per step laid over targets and back, the optimizer's step."""

import torch

import records as abi
from subject import Subject, unwritten, with_peers

# Targets of a step, on average; every eighth step is of a prompt and carries no credit.
STEP = 48
# A large lr, so that an error in the step is seen in the parameters.
ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
EARLIER = 2  # steps before the one that is taken


def random_steps(targets, device):
    """step_of of targets whose steps lie side by side, of unequal lengths, and how many steps there are."""
    steps = max(1, targets // STEP)
    step_of = torch.randint(0, steps, (targets,), device=device).sort().values.int()
    return torch.where(step_of % 8 == 0, torch.full_like(step_of, -1), step_of).contiguous(), steps


def scatter_advantages(plugin, device, targets, dtype):
    if dtype != "f32":
        return None
    step_of, steps = random_steps(targets, device)
    credits = torch.randn(steps, 2, device=device)
    advantages = unwritten(targets, 2, device=device)
    record = abi.ScatterAdvantages(targets, steps, abi.at(credits), abi.at(step_of), abi.at(advantages))

    def gather(credits):
        found = credits[step_of.clamp(min=0).long()]
        return {"advantages": torch.where(step_of[:, None] < 0, torch.zeros_like(found), found)}

    return Subject(
        "scatterAdvantages",
        f"N {targets}, S {steps}",
        dtype,
        lambda: plugin.run("scatter_advantages", record),
        lambda: {"advantages": advantages},
        lambda: gather(credits.double()),
        12 * targets + 8 * steps,
        0,
        with_peers(gather, credits),
        (step_of, credits),
    )


def scatter_advantages_backward(plugin, device, targets, dtype):
    if dtype != "f32":
        return None
    step_of, steps = random_steps(targets, device)
    upstream = torch.randn(targets, 2, device=device)
    dcredits = unwritten(steps, 2, device=device)
    record = abi.ScatterAdvantagesBackward(targets, steps, abi.at(upstream), abi.at(step_of), abi.at(dcredits))

    def add(upstream):
        """With atomics, in any order; what carries no credit goes to a row past the last."""
        at = torch.where(step_of < 0, torch.full_like(step_of, steps), step_of).long()
        sums = torch.zeros(steps + 1, 2, dtype=upstream.dtype, device=upstream.device)
        return {"dstep_credits": sums.index_add_(0, at, upstream)[:steps]}

    return Subject(
        "scatterAdvantagesBackward",
        f"N {targets}, S {steps}",
        dtype,
        lambda: plugin.run("scatter_advantages_backward", record),
        lambda: {"dstep_credits": dcredits},
        lambda: add(upstream.double()),
        12 * targets + 8 * steps,
        0,
        with_peers(add, upstream),
        (step_of, upstream),
    )


def stepped64(params, grads, m, v):
    step = EARLIER + 1
    params, grads, m, v = (tensor.double() for tensor in (params, grads, m, v))
    m = ADAM["beta1"] * m + (1 - ADAM["beta1"]) * grads
    v = ADAM["beta2"] * v + (1 - ADAM["beta2"]) * grads**2
    slope = m / (1 - ADAM["beta1"] ** step) / ((v / (1 - ADAM["beta2"] ** step)).sqrt() + ADAM["eps"])
    return {"params": params - ADAM["lr"] * (slope + ADAM["weight_decay"] * params), "m": m, "v": v}


def torch_adamw(params, grads, m, v, kind):
    """A step of torch.optim.AdamW of one kind ("foreach", "fused") on copies, as one tensor."""
    leaf = params.clone().requires_grad_()
    leaf.grad = grads
    optimizer = torch.optim.AdamW(
        [leaf], lr=ADAM["lr"], betas=(ADAM["beta1"], ADAM["beta2"]), eps=ADAM["eps"], weight_decay=ADAM["weight_decay"], **{kind: True}
    )
    taken = torch.tensor(float(EARLIER), device=params.device if kind == "fused" else "cpu")
    optimizer.state[leaf] = {"step": taken, "exp_avg": m.clone(), "exp_avg_sq": v.clone()}

    def run():
        optimizer.step()
        state = optimizer.state[leaf]
        return {"params": leaf.detach(), "m": state["exp_avg"], "v": state["exp_avg_sq"]}

    return run


def adamw(plugin, device, count, dtype):
    """Calls go on from what the one before left; ours takes the bias corrections of one step for all of them."""
    if dtype != "f32":
        return None
    params, grads = torch.randn(count, device=device), torch.randn(count, device=device)
    m, v = 0.1 * torch.randn(count, device=device), 0.1 * torch.rand(count, device=device)
    peers = {"torch foreach": torch_adamw(params, grads, m, v, "foreach")}
    if device != "cpu":
        peers["torch fused"] = torch_adamw(params, grads, m, v, "fused")
    record = abi.Adamw(
        count, EARLIER + 1, ADAM["lr"], ADAM["beta1"], ADAM["beta2"], ADAM["eps"], ADAM["weight_decay"], 1.0, abi.at(grads),
        abi.at(params), abi.at(m), abi.at(v)
    )  # fmt: skip
    return Subject(
        "adamw",
        f"[{count}]",
        dtype,
        lambda: plugin.run("adamw", record),
        lambda: {"params": params, "m": m, "v": v},
        lambda: stepped64(params, grads, m, v),
        28 * count,
        0,
        peers,
        (grads,),
    )
