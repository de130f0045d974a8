/**
 * What runs in the Python process before the program: it gives up everything that a program must not have and only then
 * runs it. A text, because it has to reach `python3 -c` from the sources and from the built package alike.
 *
 * Channel: descriptor 3. In: the job as JSON, until its end. Out: lines of JSON; the first is `{"ready": true}` or
 * `{"refused": reason}`, the next ones the values of the calls. No expected value ever enters this process.
 */
export const pythonBootstrap = String.raw`
import builtins, json, os, resource, signal, sys, types

CHANNEL = 3
LINUX = sys.platform == "linux"


def say(value, dumps=json.dumps, write=os.write):
    line = memoryview(dumps(value, allow_nan=False).encode() + b"\n")
    while line:
        line = line[write(CHANNEL, line):]


def job_of():
    chunks = iter(lambda: os.read(CHANNEL, 65536), b"")
    return json.loads(b"".join(chunks))


# Nothing can be imported once files are closed to the program: what it names comes first.
ALLOWED = """
    abc array ast base64 binascii bisect calendar cmath collections colorsys contextlib copy csv dataclasses datetime
    decimal difflib enum fractions functools gc graphlib hashlib heapq html inspect io itertools json keyword locale math
    numbers operator os pprint queue random re reprlib secrets statistics string struct sys textwrap threading time
    timeit traceback types typing unicodedata uuid warnings weakref zlib
""".split()
ALSO = {"datetime": ["_strptime"], "time": ["_strptime"]}


def preload(words):
    for name in ["collections.abc", "encodings.ascii", "encodings.latin_1", "unicodedata", "warnings"]:
        __import__(name)
    for name in ALLOWED:
        if name in words:
            for part in [name, *ALSO.get(name, [])]:
                __import__(part)


def limit(name, value):
    kind = getattr(resource, name, None)
    if kind is None:
        return
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        # macOS has no bound on the address space; of all others nothing may be missing.
        if LINUX or name != "RLIMIT_AS":
            raise


def drop_root():
    """Root keeps some powers that limits do not bind: become nobody. False where that is impossible."""
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return True
    except OSError:
        return False


# Numbers of the calls that a program needs to compute, to read and write what is open, and to end; all others are refused:
# read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn sched_yield mremap madvise
# nanosleep getpid exit gettimeofday getrusage times getuid sigaltstack gettid futex restart_syscall clock_gettime
# clock_getres clock_nanosleep exit_group getrandom; on x86_64 also time.
CALLS = {
    "x86_64": (0xC000003E, [0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 28, 35, 39, 60, 96, 98, 100, 102, 131, 186,
                            202, 219, 228, 229, 230, 231, 318, 201]),
    "aarch64": (0xC00000B7, [63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 124, 216, 233, 101, 172, 93, 169, 165,
                             153, 174, 132, 178, 98, 128, 113, 114, 115, 94, 278]),
}
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38


class Refused(Exception):
    pass


def call_filter():
    """What makes the kernel refuse every other system call, made ready while files can still be read."""
    if not LINUX:
        raise Refused("system calls can be filtered on Linux alone, this is " + sys.platform)
    machine = os.uname().machine
    if machine not in CALLS or sys.maxsize < 2**32:
        raise Refused("no list of system calls for " + machine)
    try:
        import ctypes
    except ImportError:
        raise Refused("this Python has no ctypes, by which seccomp is asked for")
    libc = ctypes.CDLL(None, use_errno=True)
    arch, numbers = CALLS[machine]

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]

    class Filter(ctypes.Structure):
        _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction))]

    load, equal, give = 0x20, 0x15, 0x06
    refuse, allow = 0x00050001, 0x7FFF0000  # EPERM
    lines = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, refuse), (load, 0, 0, 0)]
    lines += [(equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(give, 0, 0, refuse), (give, 0, 0, allow)]
    written = Filter(len(lines), (Instruction * len(lines))(*lines))

    def install():
        libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise Refused("no_new_privs: " + os.strerror(ctypes.get_errno()))
        if libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(written), 0, 0) != 0:
            raise Refused("seccomp: " + os.strerror(ctypes.get_errno()))

    return install


# Events of Python that computing raises; the hook refuses all others.
HARMLESS = """
    compile exec import builtins.id builtins.input builtins.input/result object.__getattr__ object.__setattr__
    object.__delattr__ sys._getframe sys.excepthook sys.unraisablehook time.sleep array.__new__
    cpython._PySys_ClearAuditHooks
""".split()


def refuse_events():
    def hook(event, _, known=frozenset(HARMLESS).__contains__):
        if not known(event):
            raise PermissionError(event)

    sys.addaudithook(hook)


def contain(job):
    # An end of its own, should the process that watches the clock be gone.
    signal.alarm(job["clockSeconds"])
    limit("RLIMIT_CPU", job["cpuSeconds"])
    limit("RLIMIT_AS", job["memory"])
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_FSIZE", 0)
    preload(job["words"])
    install = call_filter() if job["containment"] == "kernel" else None
    if not drop_root() and install is None:
        raise Refused("expected a user other than root, or a root that can become nobody")
    limit("RLIMIT_NPROC", 0)
    # What is open stays open; no descriptor can be opened any more, of a file, a pipe or a socket.
    limit("RLIMIT_NOFILE", 0)
    if install is not None:
        install()


def run(job):
    sys.path[:] = []
    builtins.exit = builtins.quit = sys.exit
    name = "program" if "calls" in job else "__main__"
    module = types.ModuleType(name)
    sys.modules[name] = module
    names = module.__dict__
    say({"ready": True})
    if job["containment"] == "audit":
        refuse_events()
    exec(compile(job["program"], "<program>", "exec"), names)
    for call in job.get("calls", []):
        try:
            say({"value": eval(call, names)})
        except BaseException as error:
            say({"raised": type(error).__name__})
    if "calls" in job:
        os._exit(0)


job = job_of()
try:
    contain(job)
except Refused as reason:
    say({"refused": str(reason)})
    sys.exit()
run(job)
`;
