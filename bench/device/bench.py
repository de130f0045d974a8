"""Checks, then times, the ops of a plug-in on its device beside PyTorch (eager and compiled), Triton and other trainers' formulas.

    python3 bench/device/bench.py --plugin build-cuda/Release/stepcredit_cuda.so --json record.json
    python3 bench/device/bench.py --plugin build-cuda/Release/stepcredit_cuda.so --only tree_attention --json trees.json
    python3 bench/device/bench.py --plugin build-cuda/host/stepcredit_cuda_host.so --check

It needs PyTorch on the device of the plug-in. --check runs small sizes against float64 and times nothing. With a plug-in that was
compiled for the host there are only that and --rehearse, which takes the small sizes through all that timing does, to see that it
works; its figures mean nothing. The record has the fields of `npm run bench -- --json`, and is written after each row. Floors are
measured in the same run: the bandwidth of a large copy for what moves memory, the rate of a large matrix product of the same type
for what multiplies.
"""

import argparse
import datetime
import json
import subprocess
import sys

import torch

from plugin import Plugin
from agreement import check
from shapes import LARGE, SMALL
from subject import forget_compiled, synchronize
from timing import clocks, floors, freed, timed

ROUNDS, SECONDS = 5, 0.1


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def environment(plugin, rehearsal):
    return {
        "device": plugin.device,
        "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "plugin": plugin.build,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": output_of("git", "describe", "--always", "--dirty", "--exclude=*"),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "python3 bench/device/bench.py " + " ".join(sys.argv[1:]),
        **({"rehearsal": True} if rehearsal else {}),
    }


def line(row):
    rates = f"{row['bytes'] / row['medianMs'] / 1e6:8.0f} GB/s {row['flops'] / row['medianMs'] / 1e9:8.1f} TFLOP/s"
    peers = [f"{name} {peer['ratio']:.2f}" for name, peer in row["peers"].items()]
    peers += [f"{name} skipped ({why})" for name, why in row["skipped"].items()]
    return (
        f"{row['op']:<26}{row['shape']:<32}{row['dtype']:<6}{row['medianMs']:9.3f} ms {rates}"
        f"  {100 / row['ratioToFloor']:5.1f} % of the floor's rate; {', '.join(peers)}"
    )


def subjects(plugin, place, cases):
    """One at a time, so that there is memory for the next."""
    for make, sizes, dtypes in cases:
        for dtype in dtypes:
            subject = make(plugin, place, *sizes, dtype)
            if subject is None:
                continue
            synchronize(place)
            yield subject
            del subject
            forget_compiled()
            freed()


def checked(plugin, place, wait, cases):
    """Prints what agrees; gives how much of ours does not, and how much of the peers'."""
    wrong, of_peers = 0, 0
    for subject in subjects(plugin, place, cases):
        problems, theirs = check(subject, wait)
        wrong += len(problems)
        of_peers += len(theirs)
        print(f"{subject.op} {subject.shape} {subject.dtype}: {'; '.join(problems + theirs) or 'agrees'}", flush=True)
        del subject
    return wrong, of_peers


def measured(plugin, place, wait, cases, arguments):
    """Prints and writes a row per subject; gives in how many ours and a peer differ."""
    if arguments.rehearse:
        print("a rehearsal: the figures mean nothing")
    both_clocks = clocks(plugin, place)
    rounds, seconds = (1, 0) if arguments.rehearse else (ROUNDS, SECONDS)
    copy_rate, product_rates = rates = floors(both_clocks[1], place, rounds)
    tflops = ", ".join(f"{rate / 1e12:.1f} TFLOP/s {dtype}" for dtype, rate in product_rates.items())
    print(f"copy {copy_rate / 1e9:.0f} GB/s, products {tflops}", flush=True)
    env, rows, wrong = environment(plugin, arguments.rehearse), [], 0
    freed()
    for subject in subjects(plugin, place, cases):
        row, problems = timed(subject, plugin, both_clocks, rates, wait, rounds, seconds)
        del subject
        wrong += len(problems)
        print(line(row) + "".join(f"; {problem}" for problem in problems), flush=True)
        rows.append({**row, "env": env})
        if arguments.json:
            with open(arguments.json, "w", encoding="utf8") as file:
                json.dump(rows, file, indent=2)
    return wrong


def main():
    parser = argparse.ArgumentParser(description="check the ops of a plug-in on its device, then time them")
    parser.add_argument("--plugin", required=True, help="the shared library")
    parser.add_argument("--device", type=int, default=0, help="its number")
    parser.add_argument("--check", action="store_true", help="small sizes against float64 alone")
    parser.add_argument("--rehearse", action="store_true", help="the small sizes, timed once each: figures without a meaning")
    parser.add_argument("--only", nargs="+", choices=sorted({make.__name__ for make, *_ in SMALL}), help="these subjects alone")
    parser.add_argument("--json", help="where the record goes")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    plugin = Plugin(arguments.plugin, arguments.device)
    place = "cpu" if plugin.on_host else f"cuda:{arguments.device}"
    if plugin.on_host and not (arguments.check or arguments.rehearse):
        parser.error("a plug-in compiled for the host can only be checked or rehearsed: --check, --rehearse")

    def wait():
        synchronize(place)
        plugin.wait()

    def wanted(cases):
        return [case for case in cases if arguments.only is None or case[0].__name__ in arguments.only]

    print(f"{plugin.device}; {plugin.build}; PyTorch {torch.__version__}")
    if not arguments.rehearse:
        wrong, of_peers = checked(plugin, place, wait, wanted([(*case, ["f32", "bf16", "f16"]) for case in SMALL]))
        if wrong or arguments.check:
            sys.exit(1 if wrong + of_peers else 0)
    cases = [(*case, ["f32", "bf16"]) for case in SMALL] if arguments.rehearse else LARGE
    sys.exit(1 if measured(plugin, place, wait, wanted(cases), arguments) else 0)


if __name__ == "__main__":
    main()
