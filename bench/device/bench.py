"""Checks, then times, the ops of a plug-in on its device beside PyTorch (eager and compiled) and Triton.

    python3 bench/device/bench.py --plugin build-cuda/Release/stepcredit_cuda.so --json record.json
    python3 bench/device/bench.py --plugin build-cuda/host/stepcredit_cuda_host.so --check

It needs PyTorch on the device of the plug-in. --check runs small sizes against float64 and times nothing: the only thing to do
with a plug-in that was compiled for the host. The record has the fields of `npm run bench -- --json`. Floors are measured in the same
run: the bandwidth of a large copy for what moves memory, the rate of a large matrix product of the same type for what multiplies.
"""

import argparse
import datetime
import gc
import json
import math
import statistics
import subprocess
import sys
import time

import torch

import plugin as abi
from shapes import LARGE, SMALL
from subject import forget_compiled, synchronize, torch_dtype

# Of the norm. f32: sums of f32 in another order. Half types: a gradient in the type is rounded to the nearest, by up to 2^-8 of an
# element in bf16 and 2^-11 in f16; twice that is allowed.
TOLERANCE = {"f32": 1e-5, "bf16": 8e-3, "f16": 1e-3}
# Peers in bf16 round logits and log-probs to it on their way: that they compute the same is shown by their f32 form.
PEER_TOLERANCE = {"f32": 1e-5, "bf16": 3e-2}
ROUNDS, SECONDS = 5, 0.1


def relative_error(found, truth):
    """‖found − truth‖ / ‖truth‖; of integers, whether any differs."""
    if not truth.is_floating_point():
        return math.inf if (found != truth).any() else 0.0
    return ((found.double() - truth).norm() / truth.norm()).item()


def disagreements(found, truth, tolerance):
    """The outputs that are off, with how far. What only one of the two has is not compared."""
    errors = {name: relative_error(found[name], truth[name]) for name in truth if name in found}
    return [f"{name}: off by {error:.3g}" for name, error in errors.items() if not error <= tolerance]


def check(subject, wait):
    """What is off among the outputs of ours, all of which have to be there, and among those of its peers."""
    truth = subject.truth()
    subject.ours()
    wait()
    found = subject.outputs()
    wrong = [f"{name}: missing" for name in truth if name not in found]
    wrong += disagreements(found, truth, TOLERANCE[subject.dtype])
    if subject.dtype in PEER_TOLERANCE:
        for peer, run in subject.peers.items():
            wrong += [f"{peer}: {what}" for what in disagreements(run(), truth, PEER_TOLERANCE[subject.dtype])]
    return wrong


def milliseconds(run, wait):
    """Of one call, from as many in a row as take SECONDS, and at least three."""
    wait()
    start = time.perf_counter()
    run()
    wait()
    calls = max(3, math.ceil(SECONDS / max(time.perf_counter() - start, 1e-6)))
    start = time.perf_counter()
    for _ in range(calls):
        run()
    wait()
    return (time.perf_counter() - start) * 1e3 / calls


def copy_floor(device):
    """Bytes a second of a copy of 4 GiB: read and written."""
    source = torch.ones(1 << 30, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    ms = statistics.median(milliseconds(lambda: target.copy_(source), torch.cuda.synchronize) for _ in range(ROUNDS))
    return 2 * source.numel() * 4 / (ms / 1e3)


def product_floor(device, dtype):
    """Operations a second of a matrix product 8192 x 8192 x 8192, accumulated in f32, without tf32."""
    a, b = (torch.randn(8192, 8192, device=device).to(torch_dtype(dtype)) for _ in range(2))
    ms = statistics.median(milliseconds(lambda: a @ b, torch.cuda.synchronize) for _ in range(ROUNDS))
    return 2 * 8192**3 / (ms / 1e3)


def git_commit():
    try:
        return subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def environment(plugin):
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "device": plugin.device,
        "driver": driver,
        "plugin": plugin.build,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": git_commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "python3 bench/device/bench.py " + " ".join(sys.argv[1:]),
    }


def warm(contestants):
    """Runs each once, which compiles it and touches its memory. Gives why some cannot be timed, and leaves those out."""
    skipped = {}
    for name, (run, wait) in list(contestants.items()):
        try:
            run()
            wait()
        except torch.cuda.OutOfMemoryError:
            if name == "ours":
                raise
            skipped[name] = "out of memory"
            del contestants[name]
            gc.collect()
            torch.cuda.empty_cache()
    return skipped


def timed(subject, plugin, copy_rate, product_rate):
    contestants = {"ours": (subject.ours, plugin.wait)}
    for name, run in subject.peers.items():
        contestants[name] = (run, torch.cuda.synchronize)
    skipped = warm(contestants)
    samples = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (run, wait) in contestants.items():
            samples[name].append(milliseconds(run, wait))
    ours = statistics.median(samples["ours"])
    floor = max(subject.bytes / copy_rate, subject.flops / product_rate if subject.flops else 0) * 1e3
    fifths = statistics.quantiles(samples["ours"], n=5, method="inclusive")
    peers = {name: statistics.median(times) for name, times in samples.items() if name != "ours"}
    return {
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
        "peers": {name: {"medianMs": ms, "ratio": ms / ours} for name, ms in peers.items()},
        "skipped": skipped,
    }


def line(row):
    rates = f"{row['bytes'] / row['medianMs'] / 1e6:8.0f} GB/s {row['flops'] / row['medianMs'] / 1e9:8.1f} TFLOP/s"
    peers = [f"{name} {peer['ratio']:.2f}" for name, peer in row["peers"].items()]
    peers += [f"{name} skipped: {why}" for name, why in row["skipped"].items()]
    return (
        f"{row['op']:<24}{row['shape']:<28}{row['dtype']:<6}{row['medianMs']:9.3f} ms {rates}"
        f"  {100 / row['ratioToFloor']:5.1f} % of the floor's rate; {', '.join(peers)}"
    )


def main():
    parser = argparse.ArgumentParser(description="check the ops of a plug-in on its device, then time them")
    parser.add_argument("--plugin", required=True, help="the shared library")
    parser.add_argument("--device", type=int, default=0, help="its number")
    parser.add_argument("--check", action="store_true", help="small sizes against float64 alone")
    parser.add_argument("--json", help="where the record goes")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    plugin = abi.Plugin(arguments.plugin, arguments.device)
    place = "cpu" if plugin.on_host else f"cuda:{arguments.device}"
    if plugin.on_host and not arguments.check:
        parser.error("a plug-in compiled for the host can only be checked: --check")

    def wait():
        synchronize(place)
        plugin.wait()

    print(f"{plugin.device}; {plugin.build}; PyTorch {torch.__version__}")
    wrong = 0
    for make, sizes in SMALL:
        for dtype in ["f32", "bf16", "f16"]:
            subject = make(plugin, place, *sizes, dtype)
            if subject is None:
                continue
            synchronize(place)
            problems = check(subject, wait)
            wrong += len(problems)
            print(f"{subject.op} {subject.shape} {dtype}: {'; '.join(problems) or 'agrees'}")
    if wrong or arguments.check:
        sys.exit(1 if wrong else 0)

    copy_rate = copy_floor(place)
    rates = {dtype: product_floor(place, dtype) for dtype in ["f32", "bf16"]}
    print(f"copy {copy_rate / 1e9:.0f} GB/s, products {rates['f32'] / 1e12:.1f} TFLOP/s f32, {rates['bf16'] / 1e12:.0f} TFLOP/s bf16")
    env = environment(plugin)
    rows = []
    for make, sizes in LARGE:
        for dtype in ["f32", "bf16"]:
            subject = make(plugin, place, *sizes, dtype)
            if subject is None:
                continue
            torch.cuda.synchronize()
            row = {**timed(subject, plugin, copy_rate, rates[dtype]), "env": env}
            print(line(row), flush=True)
            rows.append(row)
            del subject
            forget_compiled()
            gc.collect()
            torch.cuda.empty_cache()
    if arguments.json:
        with open(arguments.json, "w", encoding="utf8") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
