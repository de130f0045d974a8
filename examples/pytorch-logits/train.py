"""A trainer in PyTorch (2.0 or later) whose logits on a GPU become their own gradient in another process, without a copy.

    npm run build && python3 examples/pytorch-logits/train.py

This process makes logits [T, V], gives the CUDA IPC handle of their memory to update.mjs over a pipe, waits for it, and
compares what lies there then with what autograd says in float64. Exit status: 0 they agree, 1 they do not, 2 update.mjs failed,
77 there is no PyTorch with a CUDA device, or update.mjs finds none.

The handle comes from `UntypedStorage._share_cuda_`, which begins with an underscore: it is no documented interface of PyTorch
but the one that torch.multiprocessing uses to send tensors. The handle that it gives is a `cudaIpcMemHandle_t` of 64 bytes;
newer versions put a version and the letter of a kind before it, c for memory from cudaMalloc, the only kind that CUDA IPC opens.
"""

import base64
import json
import pathlib
import subprocess
import sys

NO_DEVICE = 77
HANDLE_BYTES = 64


def stop(status, line):
    print(line, file=sys.stderr)
    sys.exit(status)


try:
    import torch
except ImportError:
    stop(NO_DEVICE, "pytorch-logits: needs PyTorch with a CUDA device; there is no PyTorch")
if not torch.cuda.is_available():
    stop(NO_DEVICE, f"pytorch-logits: needs PyTorch with a CUDA device; PyTorch {torch.__version__} finds none")

T, V = 512, 8192
EPS_LOW, EPS_HIGH = 0.2, 0.28


def autograd(logits, targets, old_logprobs, advantages, weights):
    """The loss of the clipped surrogate and its gradient by the logits, in float64."""
    wide = logits.double().requires_grad_()
    logprobs = torch.log_softmax(wide, -1).gather(1, targets[:, None])[:, 0]
    ratio = torch.exp(logprobs - old_logprobs.double())
    clipped = ratio.clamp(1 - EPS_LOW, 1 + EPS_HIGH)
    loss = -(torch.minimum(ratio * advantages, clipped * advantages) * weights).sum()
    loss.backward()
    return loss.item(), wide.grad


def share(tensor):
    """What update.mjs needs to open the memory of a tensor, and what tells PyTorch that it is closed again."""
    storage = tensor.untyped_storage()
    _, handle, _, offset, counter, counter_offset, _, _ = storage._share_cuda_()
    if len(handle) > HANDLE_BYTES and handle[-HANDLE_BYTES - 1 : -HANDLE_BYTES] != b"c":
        stop(2, "pytorch-logits: the memory is not from cudaMalloc: run without expandable segments (PYTORCH_CUDA_ALLOC_CONF)")

    def closed():
        storage._release_ipc_counter(counter, counter_offset, device=tensor.device)

    memory = {
        "handle": base64.b64encode(handle[-HANDLE_BYTES:]).decode(),
        "byteOffset": offset + tensor.storage_offset() * tensor.element_size(),
        "shape": list(tensor.shape),
        "dtype": "f32",
    }
    return memory, closed


def main():
    torch.manual_seed(0)
    device = torch.device("cuda", 0)
    logits = 2 * torch.randn(T, V, device=device)
    targets = torch.randint(V, (T,), device=device)
    logprobs = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
    old_logprobs = logprobs + 0.3 * torch.randn(T, device=device)
    advantages = torch.randn(T, device=device)
    weights = torch.full((T,), 1 / T, device=device)
    loss, gradient = autograd(logits, targets, old_logprobs, advantages, weights)

    memory, closed = share(logits)
    request = {
        "logits": memory,
        "targetOffsets": list(range(T + 1)),
        "targets": targets.tolist(),
        "oldLogprobs": old_logprobs.tolist(),
        "advantages": advantages.tolist(),
        "weights": weights.tolist(),
        "epsLow": EPS_LOW,
        "epsHigh": EPS_HIGH,
    }
    torch.cuda.synchronize()  # the other process has no stream of this one to wait for
    node = subprocess.run(
        ["node", str(pathlib.Path(__file__).with_name("update.mjs"))],
        input=json.dumps(request) + "\n",
        stdout=subprocess.PIPE,
        text=True,
    )
    if node.returncode != 0:
        sys.exit(node.returncode if node.returncode == NO_DEVICE else 2)
    closed()
    there = json.loads(node.stdout)

    # The logits are their gradient now.
    largest = gradient.abs().max().item()
    difference = (logits.double() - gradient).abs().max().item()
    print(f"loss {there['loss']:.7f}, autograd {loss:.7f}")
    print(f"dlogits [{T}, {V}]: largest {largest:.3e}, largest difference from autograd {difference:.3e}")
    return 0 if difference <= 1e-5 * largest and abs(there["loss"] - loss) <= 1e-5 else 1


sys.exit(main())
