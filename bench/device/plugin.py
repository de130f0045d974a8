"""The plug-in's C ABI (native/backend.h) from Python: a queue on a device, and the ops that it takes with their records.

Where the plug-in was compiled for the host, its device's memory is the host's, and so are the tensors.
"""

import ctypes
import pathlib
import re

i32, pointer = ctypes.c_int32, ctypes.c_void_p

ABI_VERSION = 4


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
        ("convert", function(pointer, pointer, i32, pointer, i32, ctypes.c_size_t)),
        ("wait", function(pointer)),
        ("find_cublaslt", function()),
        ("queue_after_stream", function(pointer, ctypes.c_uint64)),
        ("stream_after_queue", function(pointer, ctypes.c_uint64)),
        ("stream_of", function(pointer, ctypes.POINTER(ctypes.c_uint64))),
        ("device_of", function(pointer, ctypes.POINTER(i32))),
        ("share", function(i32, pointer, pointer)),
        ("open_shared", function(i32, pointer, ctypes.POINTER(pointer))),
        ("close_shared", function(i32, pointer)),
        ("make_event", function(i32, ctypes.POINTER(pointer), pointer)),
        ("open_event", function(i32, pointer, ctypes.POINTER(pointer))),
        ("close_event", function(i32, pointer)),
        ("record_event", function(pointer, pointer)),
        ("queue_after_event", function(pointer, pointer)),
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
