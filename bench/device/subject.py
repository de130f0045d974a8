"""What is timed on a device: an op of ours on tensors of PyTorch, what it must agree with, what it costs and its peers.

A subject is a function of (plugin, device, sizes …, dtype) that gives a Subject, or None for a type that it does not have. Inputs are
random. A peer computes the same from the same inputs and gives what it has of ours' outputs, so it is checked too.
"""

import dataclasses
import typing

import torch

import records as abi

COMPILED = "torch compiled"


@dataclasses.dataclass
class Subject:
    op: str
    shape: str
    dtype: str
    ours: typing.Callable[[], None]  # enqueues
    outputs: typing.Callable[[], dict]  # what ours wrote
    truth: typing.Callable[[], dict]  # the same in float64; integers have to be equal
    bytes: int  # that must move
    flops: int  # of matrix products; 0: memory is what counts
    peers: typing.Dict[str, typing.Callable[[], dict]]  # enqueue, and give outputs
    inputs: tuple  # that must live as long as ours is called


def torch_dtype(dtype):
    return {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]


def with_peers(function, *arguments):
    """The function of tensors as it is and by torch.compile, where this PyTorch has that. Each shape is compiled for itself."""
    peers = {"torch eager": lambda: function(*arguments)}
    if hasattr(torch, "compile"):
        fast = torch.compile(function, dynamic=False)
        peers[COMPILED] = lambda: fast(*arguments)
    return peers


def forget_compiled():
    """Past a few shapes of one function torch.compile stops compiling it and runs it as it is, without a word."""
    if hasattr(torch, "compiler") and hasattr(torch.compiler, "reset"):
        torch.compiler.reset()


def unwritten(*shape, device, dtype=torch.float32):
    """Memory for an output, full of NaN, so that what is left out is seen."""
    return torch.full(shape, float("nan"), dtype=dtype, device=device)


def ordinal(rows, device):
    """Offsets of rows with one target each."""
    return torch.arange(rows + 1, dtype=torch.int32, device=device)


def random_targets(rows, vocabulary, device):
    return torch.randint(0, vocabulary, (rows,), dtype=torch.int32, device=device)


def logit_rows(logits, dtype, offsets, targets):
    T, V = logits.shape
    return abi.LogitRows(T, T, V, abi.DTYPES[dtype], -1, 1.0, 1.0, 0.0, abi.at(logits), abi.at(offsets), abi.at(targets), None, None)


def random_rows(rows, vocabulary, dtype, device):
    logits = torch.randn(rows, vocabulary, device=device).mul_(2).to(torch_dtype(dtype))
    return logits, ordinal(rows, device), random_targets(rows, vocabulary, device)


def synchronize(device):
    if device != "cpu":
        torch.cuda.synchronize()
