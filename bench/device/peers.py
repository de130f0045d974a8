"""What other trainers compute, written for these benches in plain PyTorch from the published formulas: none of their code.

TRL, `selective_log_softmax`: the target's logit less the log-sum-exp of its row, a sequence at a time, so that there is never a second
[T, V]; half types by log_softmax in the type, because a log-sum-exp in it would lose the difference.
Liger, the fused linear cross-entropy (Hsu et al. 2024, arXiv:2410.10989): chunks of rows, whose logits become their own gradient.
"""

import torch

# Positions of a sequence, where logits [T, V] stand for a batch of sequences one after the other.
SEQUENCE = 1024


def gathered(logprobs, targets):
    return logprobs.gather(-1, targets.long()[:, None])[:, 0]


def selective_logprobs(logits, targets):
    sequences = logits.split(SEQUENCE)
    if logits.dtype == torch.float32:
        return gathered(logits, targets) - torch.cat([torch.logsumexp(rows, dim=-1) for rows in sequences])
    pairs = zip(sequences, targets.split(SEQUENCE))
    return torch.cat([gathered(torch.log_softmax(rows, dim=-1), wanted) for rows, wanted in pairs])


def chunks(rows, vocabulary, width):
    """Slices of rows: so many at once that their logits [C, V] take about as much memory as the hidden states [T, H] do."""
    at_once = -(-rows // -(-vocabulary // width))
    at_once = 1 << (at_once - 1).bit_length()  # to the next power of two
    return [slice(first, min(first + at_once, rows)) for first in range(0, rows, at_once)]


def chunked_linear_logprobs(hidden, weight, targets):
    out = torch.empty(hidden.shape[0], device=hidden.device)
    for rows in chunks(hidden.shape[0], *weight.shape):
        logits = (hidden[rows] @ weight.T).float()
        out[rows] = gathered(logits, targets[rows]) - torch.logsumexp(logits, dim=-1)
    return out


def chunked_linear_gradients(hidden, weight, targets, upstream):
    """dhidden and dweight of Σ upstream · logprobs in f32, as ours are; the products take their operands in the type of the inputs."""
    dhidden = torch.empty(hidden.shape, device=hidden.device)
    dweight = torch.zeros(weight.shape, device=weight.device)
    for rows in chunks(hidden.shape[0], *weight.shape):
        gradient = torch.softmax(hidden[rows] @ weight.T, dim=-1, dtype=torch.float32)
        gradient.mul_(-upstream[rows, None]).scatter_add_(-1, targets[rows].long()[:, None], upstream[rows, None])
        gradient = gradient.to(hidden.dtype)
        dhidden[rows] = gradient @ weight
        dweight += gradient.T @ hidden[rows]
    return dhidden, dweight
