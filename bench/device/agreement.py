"""Whether results agree: ours and its peers with float64 at small sizes, ours with its peers at full size."""

import math

import torch

from subject import COMPILED

# Of the norm. f32: sums of f32 in another order. Half types: a gradient in the type is rounded to the nearest, by up to 2^-8 of an
# element in bf16 and 2^-11 in f16; twice that is allowed.
TOLERANCE = {"f32": 1e-5, "bf16": 8e-3, "f16": 1e-3}
# Peers in bf16 round logits and log-probs to it on their way: that they compute the same is shown by their f32 form. PyTorch has not
# all of them in f16 on a host, and none is timed.
PEER_TOLERANCE = {"f32": 1e-5, "bf16": 3e-2}
# Elements that are widened to float64 at once.
PIECE = 1 << 26


def relative_error(found, truth):
    """‖found − truth‖ / ‖truth‖; of integers, whether any differs."""
    if not truth.is_floating_point():
        return math.inf if (found != truth).any() else 0.0
    off, norm = 0.0, 0.0
    for a, b in zip(found.reshape(-1).split(PIECE), truth.reshape(-1).split(PIECE)):
        off += (a.double() - b.double()).square().sum().item()
        norm += b.double().square().sum().item()
    return math.sqrt(off / norm) if norm > 0 else math.inf if off > 0 else off


def disagreements(found, truth, tolerance):
    """The outputs that are off, with how far. What only one of the two has is not compared."""
    errors = {name: relative_error(found[name], truth[name]) for name in truth if name in found}
    return [f"{name}: off by {error:.3g}" for name, error in errors.items() if not error <= tolerance]


def first_call(run, wait):
    """What a peer gives when it runs for the first time, compiled by then, and why it cannot run here, where it cannot."""
    try:
        found = run()
        wait()
        return found, None
    except torch.cuda.OutOfMemoryError:
        return None, "out of memory"
    except Exception as error:  # of any kind, as compilers have them: the others are still to be timed
        lines = str(error).strip().splitlines() or [""]
        return None, f"{type(error).__name__}: {lines[0]}"


def check(subject, wait):
    """What is off among the outputs of ours, all of which have to be there, and what is among those of its peers.

    What torch.compile makes of a peer is left to the comparison at full size: compiling takes longer than all the rest.
    """
    truth = subject.truth()
    subject.ours()
    wait()
    found = subject.outputs()
    wrong = [f"{name}: missing" for name in truth if name not in found]
    wrong += disagreements(found, truth, TOLERANCE[subject.dtype])
    of_peers = []
    for peer, run in subject.peers.items() if subject.dtype in PEER_TOLERANCE else []:
        if peer == COMPILED:
            continue
        given, why = first_call(run, wait)
        problems = [why] if given is None else disagreements(given, truth, PEER_TOLERANCE[subject.dtype])
        of_peers += [f"{peer}: {problem}" for problem in problems]
    return wrong, of_peers
