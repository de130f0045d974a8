"""How a call is timed: clocks, floors, and the rounds in which ours and its peers take turns."""

import gc
import math
import statistics
import time

import torch

from agreement import disagreements, first_call
from subject import torch_dtype

# More than twice what any cache of a device holds today.
COLD_BYTES = 256 << 20
MOST_CALLS = 100  # in a round
# Of two results in one type at full size, in the norm: sums of many more terms than in the small shapes, and roundings on the way.
TOLERANCE = {"f32": 1e-4, "bf16": 3e-2}


class HostClock:
    """The host's clock around a call and the wait for it."""

    def __init__(self, wait):
        self.wait = wait

    def milliseconds(self, run, calls):
        found = []
        for _ in range(calls):
            start = time.perf_counter()
            run()
            self.wait()
            found.append((time.perf_counter() - start) * 1e3)
        return found


class DeviceClock:
    """CUDA events around each call, on the stream that takes it.

    Before each call the stream reads more than its caches hold, so that a call finds nothing of the one before. It reads, because
    what it wrote would still be on its way to memory while the call runs. The host enqueues meanwhile, so that a call of few kernels
    does not wait for it.
    """

    def __init__(self, stream):
        self.stream = stream
        self.cold = torch.zeros(COLD_BYTES // 4, device=stream.device)
        self.sum = torch.zeros((), device=stream.device)

    def milliseconds(self, run, calls):
        marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
        with torch.cuda.stream(self.stream):
            for start, end in marks:
                torch.sum(self.cold, dim=0, out=self.sum)
                start.record()
                run()
                end.record()
        self.stream.synchronize()
        return [start.elapsed_time(end) for start, end in marks]


def clocks(plugin, place):
    """One for ours, whose queue is a stream of its own, and one for PyTorch."""
    if plugin.on_host:
        return HostClock(plugin.wait), HostClock(lambda: None)
    ours = torch.cuda.ExternalStream(plugin.stream(), device=place)
    return DeviceClock(ours), DeviceClock(torch.cuda.current_stream(place))


def median_of(clock, run, rounds):
    run()
    return statistics.median(clock.milliseconds(run, rounds))


def floors(clock, place, rounds):
    """Bytes a second of a copy, read and written, and operations a second of a square product accumulated in f32, without tf32."""
    count, side = (1 << 16, 64) if place == "cpu" else (1 << 30, 8192)
    source = torch.ones(count, dtype=torch.float32, device=place)
    target = torch.empty_like(source)
    copies = 2 * source.numel() * 4 / (median_of(clock, lambda: target.copy_(source), rounds) / 1e3)
    products = {}
    for dtype in ["f32", "bf16"]:
        a, b = (torch.randn(side, side, device=place).to(torch_dtype(dtype)) for _ in range(2))
        products[dtype] = 2 * side**3 / (median_of(clock, lambda a=a, b=b: a @ b, rounds) / 1e3)
    return copies, products


def freed():
    """Gives back what PyTorch keeps for later: the plug-in allocates beside it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def warmed(subject, ours_clock, wait):
    """Runs everybody once. Gives why peers cannot be timed, who are then dropped, and where results of full size differ."""
    ours_clock.milliseconds(subject.ours, 1)
    skipped, wrong = {}, []
    for name in list(subject.peers):
        found, why = first_call(subject.peers[name], wait)
        if why is not None:
            skipped[name] = why
            del subject.peers[name]
        else:
            wrong += [f"{name}: {what}" for what in disagreements(found, subject.outputs(), TOLERANCE[subject.dtype])]
        del found
        freed()
    return skipped, wrong


def timed(subject, plugin, both_clocks, rates, wait, rounds, seconds):
    """A row of the record, but for its environment, and where ours and a peer differ. Each call is a sample."""
    ours_clock, peers_clock = both_clocks
    skipped, wrong = warmed(subject, ours_clock, wait)
    contestants = {"ours": (subject.ours, ours_clock), **{name: (run, peers_clock) for name, run in subject.peers.items()}}
    # The first call of a round is no sample: it may allocate what was freed for another.
    calls = {
        name: 1 + min(MOST_CALLS, max(1, math.ceil(seconds * 1e3 / max(clock.milliseconds(run, 1)[0], 1e-3))))
        for name, (run, clock) in contestants.items()
    }
    samples = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (run, clock) in contestants.items():
            freed()
            samples[name] += clock.milliseconds(run, calls[name])[1:]
    ours = statistics.median(samples["ours"])
    copy_rate, product_rates = rates
    floor = max(subject.bytes / copy_rate, subject.flops / product_rates[subject.dtype]) * 1e3
    fifths = statistics.quantiles(samples["ours"], n=5, method="inclusive") if len(samples["ours"]) > 1 else [ours] * 4
    peers = {name: statistics.median(times) for name, times in samples.items() if name != "ours"}
    row = {
        "op": subject.op,
        "shape": subject.shape,
        "dtype": subject.dtype,
        "device": plugin.device,
        "threads": 1,
        "bytes": subject.bytes,
        "flops": subject.flops,
        "medianMs": ours,
        "p20Ms": fifths[0],
        "p80Ms": fifths[3],
        "floorMs": floor,
        "ratioToFloor": ours / floor,
        "samples": len(samples["ours"]),
        "peers": {name: {"medianMs": ms, "ratio": ms / ours} for name, ms in peers.items()},
        "skipped": skipped,
    }
    return row, wrong
