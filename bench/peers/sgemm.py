"""The bare matrix products of an op, by OpenBLAS alone: sgemm.py '{"subject": ..., "shape": {...}, "threads": n}'.

The floor of the ops that multiply matrices. Speaks like torch_ops.py; `--version` prints the library's configuration. Uses
nothing but the standard library and OpenBLAS.
"""

import ctypes
import ctypes.util
import json
import sys
import time

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


def library():
    name = ctypes.util.find_library("openblas")
    if name is None:
        sys.exit("OpenBLAS is not installed")
    blas = ctypes.CDLL(name)
    blas.openblas_get_config.restype = ctypes.c_char_p
    return blas


def matrix(rows, columns):
    """Of small numbers that are not zero: pages that were never written would be one shared page."""
    numbers = (ctypes.c_float * (rows * columns))()
    ctypes.memset(numbers, 0x3C, ctypes.sizeof(numbers))
    return numbers


def sgemm(blas, transposes, m, n, k, a, b, c):
    """c [m, n] = a · b."""
    lda = m if transposes[0] == TRANSPOSED else k
    ldb = k if transposes[1] == TRANSPOSED else n
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    blas.cblas_sgemm(ROW_MAJOR, *transposes, m, n, k, one, a, lda, b, ldb, zero, c, n)


def linear(blas, rows, inputs, outputs):
    x, weight, y = matrix(rows, inputs), matrix(outputs, inputs), matrix(rows, outputs)
    return lambda: sgemm(blas, (PLAIN, TRANSPOSED), rows, outputs, inputs, x, weight, y)


def linear_backward(blas, rows, inputs, outputs):
    x, weight, dy = matrix(rows, inputs), matrix(outputs, inputs), matrix(rows, outputs)
    dx, dweight = matrix(rows, inputs), matrix(outputs, inputs)

    def run():
        sgemm(blas, (PLAIN, PLAIN), rows, inputs, outputs, dy, weight, dx)
        sgemm(blas, (TRANSPOSED, PLAIN), outputs, inputs, rows, dy, x, dweight)

    return run


def linear_logprobs_backward(blas, **shape):
    """The logits once more, then the two products of the gradient."""
    forward, backward = linear(blas, **shape), linear_backward(blas, **shape)

    def run():
        forward()
        backward()

    return run


SUBJECTS = {function.__name__: function for function in (linear, linear_backward, linear_logprobs_backward)}


def samples(run, seconds, least):
    """Milliseconds of every call."""
    times = []
    while len(times) < least or sum(times) < 1000 * seconds:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def main():
    blas = library()
    if sys.argv[1] == "--version":
        print(blas.openblas_get_config().decode())
        return
    job = json.loads(sys.argv[1])
    blas.openblas_set_num_threads(job["threads"])
    run = SUBJECTS[job["subject"]](blas, **job["shape"])
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps({"samplesMs": samples(run, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
