"""The plug-in's C ABI (native/backend.h, native/ops.h) from Python, for tensors of PyTorch that lie on its device.

The records are those that the benches fill; a field that is missing here is missing there. Where the plug-in was compiled
for the host, its device's memory is the host's, and so are the tensors.
"""

import ctypes
import pathlib
import re

i32, i64, f32, f64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double, ctypes.c_void_p

ABI_VERSION = 3
DTYPES = {"f32": 0, "bf16": 1, "f16": 2}
LOSS_METRICS = 12


class Error(ctypes.Structure):
    _fields_ = [("code", i32), ("text", ctypes.c_char * 244)]


class Device(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 128),
        ("architecture", ctypes.c_char * 16),
        ("memory_bytes", ctypes.c_uint64),
        ("multiprocessors", i32),
        ("reserved", i32),
    ]


def function(*arguments):
    return ctypes.CFUNCTYPE(i32, *arguments, ctypes.POINTER(Error))


class Table(ctypes.Structure):
    _fields_ = [
        ("abi_version", ctypes.c_uint32),
        ("table_bytes", ctypes.c_uint32),
        ("build", ctypes.c_char_p),
        ("ops", pointer),
        ("count_devices", function(ctypes.POINTER(i32))),
        ("describe_device", function(i32, ctypes.POINTER(Device))),
        ("open_queue", function(i32, ctypes.POINTER(pointer))),
        ("close_queue", function(pointer)),
        ("allocate", function(i32, ctypes.c_size_t, ctypes.POINTER(pointer))),
        ("release", function(i32, pointer)),
        ("upload", function(pointer, pointer, pointer, ctypes.c_size_t)),
        ("download", function(pointer, pointer, pointer, ctypes.c_size_t)),
        ("clear", function(pointer, pointer, ctypes.c_size_t)),
        ("copy", function(pointer, pointer, pointer, ctypes.c_size_t)),
        ("wait", function(pointer)),
        ("find_cublaslt", function()),
        ("queue_after_stream", function(pointer, ctypes.c_uint64)),
        ("stream_after_queue", function(pointer, ctypes.c_uint64)),
        ("stream_of", function(pointer, ctypes.POINTER(ctypes.c_uint64))),
        ("device_of", function(pointer, ctypes.POINTER(i32))),
        ("share", function(i32, pointer, pointer)),
        ("open_shared", function(i32, pointer, ctypes.POINTER(pointer))),
        ("close_shared", function(i32, pointer)),
    ]


class LogitRows(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("N", i64),
        ("V", i64),
        ("dtype", i32),
        ("ignore_index", i32),
        ("temperature", f32),
        ("logit_scale", f32),
        ("softcap", f32),
        ("logits", pointer),
        ("target_offsets", pointer),
        ("targets", pointer),
        ("temperatures", pointer),
        ("keep", pointer),
    ]


class Logprobs(ctypes.Structure):
    _fields_ = [("rows", LogitRows), ("lse", pointer), ("logprobs", pointer), ("entropy", pointer), ("sum_squares", pointer)]


class LogprobsBackward(ctypes.Structure):
    _fields_ = [
        ("rows", LogitRows),
        ("lse", pointer),
        ("entropy", pointer),
        ("dlogprobs", pointer),
        ("dentropy", pointer),
        ("dlogits", pointer),
    ]


class PolicyLossTargets(ctypes.Structure):
    _fields_ = [
        ("N", i64),
        ("advantage_columns", i64),
        ("kl_kind", i32),
        ("kl_times_ratio", i32),
        ("log_ratio_clamp", f32),
        ("kl_coef", f32),
        ("kl_log_ratio_clamp", f32),
        ("kl_value_clamp", f32),
        ("logprobs", pointer),
        ("old_logprobs", pointer),
        ("ref_logprobs", pointer),
        ("advantages", pointer),
        ("weights", pointer),
        ("multipliers", pointer),
        ("dlogprobs", pointer),
        ("ratios", pointer),
        ("metrics", pointer),
    ]


class PolicyLossClip(ctypes.Structure):
    _fields_ = [
        ("eps_low", f32),
        ("eps_high", f32),
        ("delta", f32),
        ("dual_clip", f32),
        ("targets", PolicyLossTargets),
    ]


class PolicyUpdateClip(ctypes.Structure):
    _fields_ = [
        ("rows", LogitRows),
        ("entropy_weights", pointer),
        ("logprobs", pointer),
        ("lse", pointer),
        ("entropy", pointer),
        ("dlogits", pointer),
        ("loss", PolicyLossClip),
    ]


class HeadRows(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("N", i64),
        ("V", i64),
        ("H", i64),
        ("portable", i32),
        ("hidden_dtype", i32),
        ("weight_dtype", i32),
        ("ignore_index", i32),
        ("temperature", f32),
        ("logit_scale", f32),
        ("softcap", f32),
        ("hidden", pointer),
        ("weight", pointer),
        ("bias", pointer),
        ("target_offsets", pointer),
        ("targets", pointer),
        ("temperatures", pointer),
    ]


class LinearLogprobs(ctypes.Structure):
    _fields_ = [("head", HeadRows), ("lse", pointer), ("logprobs", pointer), ("entropy", pointer)]


class LinearLogprobsBackward(ctypes.Structure):
    _fields_ = [
        ("head", HeadRows),
        ("lse", pointer),
        ("logprobs", pointer),
        ("entropy", pointer),
        ("dlogprobs", pointer),
        ("dentropy", pointer),
        ("dhidden", pointer),
        ("dweight", pointer),
        ("dbias", pointer),
    ]


class ScatterAdvantages(ctypes.Structure):
    _fields_ = [("N", i64), ("S", i64), ("step_credits", pointer), ("step_of", pointer), ("advantages", pointer)]


class ScatterAdvantagesBackward(ctypes.Structure):
    _fields_ = [("N", i64), ("S", i64), ("dadvantages", pointer), ("step_of", pointer), ("dstep_credits", pointer)]


class Adamw(ctypes.Structure):
    _fields_ = [
        ("count", i64),
        ("step", i64),
        ("lr", f64),
        ("beta1", f64),
        ("beta2", f64),
        ("eps", f64),
        ("weight_decay", f64),
        ("grad_scale", f64),
        ("grads", pointer),
        ("params", pointer),
        ("m", pointer),
        ("v", pointer),
    ]


class Sample(ctypes.Structure):
    _fields_ = [
        ("R", i64),
        ("V", i64),
        ("dtype", i32),
        ("top_k", i32),
        ("temperature", f32),
        ("top_p", f32),
        ("min_p", f32),
        ("seed", f64),
        ("logits", pointer),
        ("streams", pointer),
        ("positions", pointer),
        ("tokens", pointer),
        ("logprobs", pointer),
        ("support_logprobs", pointer),
    ]


class TreeAttention(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("heads", i64),
        ("kv_heads", i64),
        ("D", i64),
        ("window", i64),
        ("scale", f32),
        ("q", pointer),
        ("k", pointer),
        ("v", pointer),
        ("subtree_end", pointer),
        ("out", pointer),
        ("lse", pointer),
    ]


class TreeAttentionBackward(ctypes.Structure):
    _fields_ = [
        *TreeAttention._fields_,
        ("dout", pointer),
        ("dq", pointer),
        ("dk", pointer),
        ("dv", pointer),
    ]


class DecodeAttention(ctypes.Structure):
    _fields_ = [
        ("R", i64),
        ("K", i64),
        ("cached", i64),
        ("heads", i64),
        ("kv_heads", i64),
        ("D", i64),
        ("window", i64),
        ("scale", f32),
        ("q", pointer),
        ("keys", pointer),
        ("values", pointer),
        ("slot_offsets", pointer),
        ("slots", pointer),
        ("out", pointer),
    ]


def names_of_ops():
    """The ops in the order of the table, as native/backend.h lists them."""
    header = pathlib.Path(__file__).parents[2] / "native" / "backend.h"
    table = re.search(r"#define SC_OPS\(X\)(.*?)\n\n", header.read_text(encoding="utf8"), re.S)
    return re.findall(r"X\((\w+),", table.group(1))


class Plugin:
    """A queue on one device, and the ops that it takes. A failing call raises a RuntimeError with the plug-in's text."""

    def __init__(self, path, device=0):
        entry = ctypes.CDLL(str(path)).stepcredit_plugin
        entry.restype = ctypes.POINTER(Table)
        self.table = entry().contents
        found = (self.table.abi_version, self.table.table_bytes)
        if found != (ABI_VERSION, ctypes.sizeof(Table)):
            raise RuntimeError(f"{path}: expected ABI version and table size {(ABI_VERSION, ctypes.sizeof(Table))}, found {found}")
        self.build = self.table.build.decode()
        self.on_host = "on the host" in self.build
        count = i32()
        self.call(self.table.count_devices, ctypes.byref(count))
        if device >= count.value:
            raise RuntimeError(f"{path}: expected a device {device}, there are {count.value}")
        description = Device()
        self.call(self.table.describe_device, device, ctypes.byref(description))
        self.device = description.name.decode()
        self.queue = pointer()
        self.call(self.table.open_queue, device, ctypes.byref(self.queue))
        # ScBackend: two numbers of 32 bits, a name, then a pointer per op.
        first = self.table.ops + 8 + ctypes.sizeof(pointer)
        self.ops = {
            name: pointer.from_address(first + at * ctypes.sizeof(pointer)).value for at, name in enumerate(names_of_ops())
        }

    def call(self, op, *arguments):
        error = Error()
        if op(*arguments, ctypes.byref(error)) != 0:
            raise RuntimeError(error.text.decode(errors="replace") or "failed")

    def run(self, name, record):
        """Enqueues an op; `wait` returns when it is done."""
        op = function(pointer, pointer)(self.ops[name])
        self.call(op, ctypes.byref(record), self.queue)

    def wait(self):
        self.call(self.table.wait, self.queue)

    def stream(self):
        """The queue's own stream, a cudaStream_t as a number."""
        found = ctypes.c_uint64()
        self.call(self.table.stream_of, self.queue, ctypes.byref(found))
        return found.value

    def close(self):
        self.call(self.table.close_queue, self.queue)


def at(tensor):
    """Where a tensor lies; null for None. It has to be contiguous, and to live until the op has run."""
    if tensor is None:
        return None
    assert tensor.is_contiguous(), tuple(tensor.shape)
    return tensor.data_ptr()
