"""sample: greedy, and by inversion within the nucleus, with the same tokens as float64 gives."""

import torch

import records as abi
from subject import Subject, unwritten, with_peers

SEED, TEMPERATURE, TOP_P = 20240229, 0.8, 0.9
WORD = (1 << 32) - 1


def uniform(seed, stream, position):
    """Philox4x32-10 (Salmon et al. 2011): the first two words of the block for the counter (stream, position, 0, 0), in [0, 1)."""
    c = [stream, position, 0, 0]
    keys = [seed & WORD, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ keys[0], b & WORD, (a >> 32) ^ c[3] ^ keys[1], a & WORD]
        keys = [(keys[0] + 0x9E3779B9) & WORD, (keys[1] + 0xBB67AE85) & WORD]
    return c[0] * 2.0**-32 + c[1] * 2.0**-64


def nucleus(logits, top_p):
    """Log-probs, and which ids belong to the smallest set of the largest probabilities whose sum reaches top_p."""
    logprobs = torch.log_softmax(logits, dim=-1)
    order = torch.sort(logprobs, dim=-1, descending=True, stable=True).indices
    mass = logprobs.exp().gather(-1, order)
    before = mass.cumsum(-1) - mass
    return logprobs, torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, before < top_p)


def picked(values, tokens):
    return values.gather(-1, tokens.long()[:, None])[:, 0]


def drawn64(logits, places):
    """The first id whose cumulative probability within the nucleus exceeds its share u."""
    logprobs, kept = nucleus(logits.double() / TEMPERATURE, TOP_P)
    mass = torch.where(kept, logprobs.exp(), torch.zeros_like(logprobs)).cumsum(-1)
    shares = torch.tensor([uniform(SEED, stream, position) for stream, position in places], dtype=torch.float64, device=logits.device)
    tokens = (mass > shares[:, None] * mass[:, -1:]).int().argmax(-1).int()
    return {"tokens": tokens, "logprobs": picked(logprobs, tokens)}


def sample(plugin, device, rows, vocabulary, dtype, greedy):
    if dtype != "f32":
        return None
    logits = torch.randn(rows, vocabulary, device=device).mul_(2)
    places = [(row, 3 * row + 1) for row in range(rows)]
    streams, positions = (torch.tensor(column, dtype=torch.int32, device=device) for column in zip(*places))
    tokens = torch.full((rows,), -1, dtype=torch.int32, device=device)
    logprobs = unwritten(rows, device=device)
    record = abi.Sample(
        rows, vocabulary, abi.DTYPES[dtype], 0, 0.0 if greedy else TEMPERATURE, 1.0 if greedy else TOP_P, 0.0, SEED, abi.at(logits),
        abi.at(streams), abi.at(positions), abi.at(tokens), abi.at(logprobs), None
    )  # fmt: skip

    def largest(logits):
        found = logits.argmax(-1).int()
        return {"tokens": found, "logprobs": picked(logits, found) - torch.logsumexp(logits, dim=-1)}

    def draw(logits):
        """Sorts, cuts and draws, as generation loops do. The tokens are of another generator: there is nothing to compare."""
        logprobs, kept = nucleus(logits / TEMPERATURE, TOP_P)
        found = torch.multinomial(torch.where(kept, logprobs.exp(), torch.zeros_like(logprobs)), 1)[:, 0]
        picked(logprobs, found)
        return {}

    return Subject(
        "sample.greedy" if greedy else "sample.topP",
        f"[{rows}, {vocabulary}]",
        dtype,
        lambda: plugin.run("sample", record),
        lambda: {"tokens": tokens, "logprobs": logprobs},
        lambda: largest(logits.double()) if greedy else drawn64(logits, places),
        rows * vocabulary * logits.element_size(),
        0,
        with_peers(largest if greedy else draw, logits),
        (logits, streams, positions),
    )


def sample_greedy(*sizes):
    return sample(*sizes, greedy=True)


def sample_top_p(*sizes):
    return sample(*sizes, greedy=False)
