"""linear and its backward: activations in f32 with a weight of any type, as a policy with half weights has them."""

import math

import torch

import records as abi
from subject import Subject, torch_dtype, unwritten, with_peers


def random_layer(rows, inputs, outputs, dtype, device):
    x = torch.randn(rows, inputs, device=device)
    weight = (torch.randn(outputs, inputs, device=device) / math.sqrt(inputs)).to(torch_dtype(dtype))
    return x, weight


def with_autocast(peers, dtype, product):
    """Beside products in f32 those in the type of the weight, which round the activations to it: less accurate than ours."""
    if dtype != "f32":
        peers["torch in the type"] = product
    return peers


def linear(plugin, device, rows, inputs, outputs, dtype):
    x, weight = random_layer(rows, inputs, outputs, dtype, device)
    y = unwritten(rows, outputs, device=device)
    record = abi.Linear(rows, inputs, outputs, 0, 0, abi.DTYPES[dtype], abi.at(x), abi.at(weight), None, abi.at(y))

    def forward(x, weight):
        return {"y": x @ weight.float().T}

    return Subject(
        "linear",
        f"[{rows}, {inputs}] x [{inputs}, {outputs}]",
        dtype,
        lambda: plugin.run("linear", record),
        lambda: {"y": y},
        lambda: {"y": x.double() @ weight.double().T},
        4 * rows * (inputs + outputs) + outputs * inputs * weight.element_size(),
        2 * rows * inputs * outputs,
        with_autocast(with_peers(forward, x, weight), dtype, lambda: {"y": (x.to(weight.dtype) @ weight.T).float()}),
        (x, weight),
    )


def linear_backward(plugin, device, rows, inputs, outputs, dtype):
    """The gradients of the input and of the weight."""
    x, weight = random_layer(rows, inputs, outputs, dtype, device)
    dy = torch.randn(rows, outputs, device=device)
    dx, dweight = unwritten(rows, inputs, device=device), torch.zeros(outputs, inputs, device=device)
    record = abi.LinearBackward(
        rows, inputs, outputs, 0, 0, abi.DTYPES[dtype], *map(abi.at, (x, weight, dy, dx, dweight)), None
    )  # fmt: skip

    def backward(x, weight, dy):
        return {"dx": dy @ weight.float(), "dweight": dy.T @ x}

    def in_the_type():
        given = dy.to(weight.dtype)
        return {"dx": (given @ weight).float(), "dweight": (given.T @ x.to(weight.dtype)).float()}

    return Subject(
        "linearBackward",
        f"[{rows}, {inputs}] x [{inputs}, {outputs}]",
        dtype,
        lambda: plugin.run("linear_backward", record),
        lambda: {"dx": dx, "dweight": dweight},
        lambda: {"dx": dy.double() @ weight.double(), "dweight": dy.double().T @ x.double()},
        # dweight is read and written.
        4 * rows * (2 * inputs + outputs) + outputs * inputs * (weight.element_size() + 8),
        4 * rows * inputs * outputs,
        with_autocast(with_peers(backward, x, weight, dy), dtype, in_the_type),
        (x, weight, dy),
    )
