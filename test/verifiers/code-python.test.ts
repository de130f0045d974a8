import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { pythonVerifier, type PythonContainment } from "../../src/verifiers/code/python.ts";
import { hasPython, squares, squaresOfLines, verdictOf } from "../support/programs.ts";

const scratch = mkdtempSync(join(tmpdir(), "python-test-"));
// A program that root runs becomes nobody: permissions shall not be what stops it here.
chmodSync(scratch, 0o777);
afterAll(() => rmSync(scratch, { recursive: true }));

/** Elsewhere there is no filter of system calls. */
const isLinux = process.platform === "linux";
const containments: readonly PythonContainment[] = isLinux ? ["kernel", "audit"] : ["audit"];
const [containment] = containments;

const right = "def f(x):\n    return x * x\n";

describe.skipIf(!hasPython)("the python verifier", () => {
  const verifier = pythonVerifier("", { seconds: 5, containment });
  const judge = (solution: string, answer: unknown = squares) => verdictOf(verifier, solution, answer);

  it("rewards a program that passes all tests, and no other", async () => {
    expect(await judge(`Here it is:\n\`\`\`python\n${right}\`\`\`\nDone.`)).toBe(1);
    expect(await judge("def f(x):\n    return 2 * x\n")).toBe(0); // 4, but not 169
    expect(await judge("def f(x) return x")).toBe(0);
    expect(await judge("I do not know.")).toBe(0);
  });

  it("runs programs on their input", async () => {
    expect(await judge("n = int(input())\nprint(n * n)", squaresOfLines)).toBe(1);
    expect(await judge("import sys\nprint(int(sys.stdin.read()) ** 2)\nexit()", squaresOfLines)).toBe(1);
    expect(await judge("print(4)", squaresOfLines)).toBe(0);
    expect(await judge("print(int(input()) ** 2)\nraise SystemExit(1)", squaresOfLines)).toBe(0);
    expect(await judge("if __name__ == '__main__':\n    print(int(input()) ** 2)", squaresOfLines)).toBe(1);
  });

  it("gives programs the modules that compute", async () => {
    const program = [
      "import collections, decimal, fractions, functools, heapq, itertools, json, math, random, re, statistics, string",
      "from dataclasses import dataclass",
      "from typing import List, Optional",
      "import datetime as dt",
      "@dataclass",
      "class Point:\n    x: int",
      "Pair = collections.namedtuple('Pair', 'a b')",
      "@functools.lru_cache(None)",
      "def f(x: int) -> int:",
      "    random.shuffle([1, 2])",
      "    assert dt.datetime.strptime('2020-01-02', '%Y-%m-%d').day == 2",
      "    return Point(x).x * int(math.sqrt(Pair(x, 1).a ** 2))",
    ].join("\n");
    expect(await judge(program)).toBe(1);
  });

  it("gives the same verdict in every run where a program depends on the order of a set", async () => {
    const program = "def f(): return list({'a', 'b', 'c', 'd', 'e', 'f'})";
    const first = (letter: string) => judge(program, { calls: [{ call: "f()[0]", result: letter }] });
    const verdicts = async () => Promise.all(["a", "b", "c", "d", "e", "f"].map(first));
    const once = await verdicts();
    expect(once.filter((verdict) => verdict === 1)).toHaveLength(1);
    expect(await verdicts()).toEqual(once);
  });

  it("compares values as JSON", async () => {
    const gives = (value: string, result: unknown, tolerance?: number) =>
      judge(`def f(): return ${value}`, {
        calls: [{ call: "f()", result }],
        ...(tolerance !== undefined && { tolerance }),
      });
    expect(await gives("(1, [2.0, None], {'a': True})", [1, [2, null], { a: true }])).toBe(1);
    expect(await gives("True", 1)).toBe(0);
    expect(await gives("'4'", 4)).toBe(0);
    expect(await gives("float('nan')", null)).toBe(0);
    expect(await gives("{1, 2}", [1, 2])).toBe(0);
    expect(await gives("0.1 + 0.2", 0.3)).toBe(0);
    expect(await gives("0.1 + 0.2", 0.3, 1e-9)).toBe(1);
    expect(await gives("2 ** 53 + 1", 2 ** 53)).toMatch(/integers below 2\^53, received 9007199254740992/);
    expect(await gives("{'__proto__': 1}", {})).toBe(0);
  });

  it("says why there is no verdict where nothing can be run", async () => {
    const absent = pythonVerifier("", { python: "python-that-is-not-there" });
    expect(await verdictOf(absent, right, squares)).toMatch(/expected python-that-is-not-there to run.*ENOENT/);
    expect(await verdictOf(pythonVerifier("", { memory: 1000, containment }), right, squares)).toMatch(
      /^verify: expected python3/,
    );
  });

  it("leaves no directory behind", async () => {
    const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith("stepcredit-python-"));
    const before = left();
    await verdictOf(pythonVerifier("", { seconds: 1, containment }), "while True: pass", squares);
    expect(left().filter((name) => !before.includes(name))).toEqual([]);
  });
});

const strict = { seconds: 1, memory: 256 * 2 ** 20 };

describe.skipIf(!hasPython)("a hostile program in Python", () => {
  const verifier = pythonVerifier("", { ...strict, containment });
  const judge = (program: string, answer: unknown = squares) => verdictOf(verifier, program, answer);

  it.each([
    ["loops for ever", "while True: pass"],
    [
      "loops for ever in a call",
      "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    ],
    ["sleeps", "import time\ntime.sleep(1000)"],
    [
      "ignores signals",
      "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\nwhile True: pass",
    ],
    ["waits for a lock", "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()"],
    ["forks", "import os\nwhile True: os.fork()"],
    ["forks and swallows what is thrown", "import os\nwhile True:\n    try: os.fork()\n    except BaseException: pass"],
    ["takes memory", "x = []\nwhile True: x.append(bytearray(10**7))"],
    ["writes without end", "while True: print('x' * 10**6)"],
    ["writes answers without end", "import os\nwhile True: os.write(3, b'{\"value\": 4}\\n' * 1000)"],
    ["recurses", "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)"],
    ["ends early", "exit(0)"],
    ["ends at once", "import os\nos._exit(0)"],
    ["ends in a call", "def f(x): raise SystemExit(0)"],
    ["prints answers", "print('{\"value\": 4}')\nprint(4)\nprint(169)\nexit(0)"],
    ["sends one answer for all", "import os\nos.write(3, b'{\"value\": 4}\\n' * 2)\nos._exit(0)"],
    [
      "patches the comparison",
      "import builtins, json\njson.dumps = lambda *a, **k: '4'\nbuiltins.eval = lambda *a: 4\nclass A(int):\n    __eq__ = lambda s, o: True\ndef f(x): return A(4)",
    ],
    ["gives an object that equals all", "class A:\n    __eq__ = lambda s, o: True\ndef f(x): return A()"],
    [
      "replaces the encoder of the harness",
      "import sys\nframe = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\nframe.f_globals['say'] = lambda v: None\nframe.f_globals['json'] = None\ndef f(x): return 4",
    ],
  ])("gets nothing when it %s", async (_, program) => {
    expect(await judge(program)).toBe(0);
  });

  it("finds no expected value in its process", async () => {
    // It looks into its callers' frames and into every container of the interpreter; the value is not in its own text.
    const search = [
      "import gc, sys",
      "def parts():",
      "    frame = sys._getframe()",
      "    while frame: yield from [frame.f_locals, frame.f_globals]; frame = frame.f_back",
      "    yield from gc.get_objects()",
      "def found():",
      "    for part in list(parts()):",
      "        if type(part) in (list, tuple): values = part",
      "        elif type(part) is dict: values = list(part.values())",
      "        else: continue",
      "        if any(type(v) in (int, str) and '123456789' in str(v)[::-1] for v in values if v is not part): return True",
      "    return False",
    ].join("\n");
    const hidden = { call: "1", result: 987654321 };
    expect(await judge(search, { calls: [{ call: "found()", result: true }, hidden] })).toBe(0);
    expect(await judge(search, { calls: [{ call: "found()", result: false }] })).toBe(1);
    // It would see it: as a part of a call it is there.
    expect(await judge(search, { calls: [{ call: "[987654321, found()][1]", result: true }] })).toBe(1);
  });

  it("does not disturb the next one", async () => {
    expect(await judge("def f(x): return 4")).toBe(0);
    expect(await judge(right)).toBe(1);
  });
});

describe.skipIf(!hasPython).each(containments)("a program in Python, contained by %s", (kind) => {
  const verifier = pythonVerifier("", { ...strict, containment: kind });
  const judge = (program: string, answer: unknown = squares) => verdictOf(verifier, program, answer);

  it("starts no other", async () => {
    expect(await judge(`import os\nos.fork()\n${right}`)).toBe(0);
    expect(await judge("import os\nwhile True:\n    try: os.fork()\n    except BaseException: pass")).toBe(0);
    expect(await judge(right)).toBe(1);
  });

  it("reads no files and lists none", async () => {
    const secret = join(scratch, "secret");
    writeFileSync(secret, "4", { mode: 0o644 });
    const path = JSON.stringify(secret);
    for (const read of [
      `open(${path}).read()`,
      `__import__('io').FileIO(${path}).read()`,
      `__import__('os').open(${path}, 0)`,
      `__import__('os').listdir('/')`,
      `open('/proc/%d/environ' % __import__('os').getppid()).read()`,
    ]) {
      expect(await judge(`value = ${read}\n${right}`), read).toBe(0);
      // What it could close to make room for another file helps it no more.
      expect(await judge(`import os\nos.close(0)\nvalue = ${read}\n${right}`), read).toBe(0);
    }
  });

  it("changes no files", async () => {
    const kept = join(scratch, `kept-${kind}`);
    writeFileSync(kept, "kept", { mode: 0o666 });
    const [path, other] = [JSON.stringify(kept), JSON.stringify(join(scratch, "other"))];
    for (const change of [
      `open(${other}, 'w').write('x')`,
      `open('here', 'w').write('x')`,
      `os.remove(${path})`,
      `os.rename(${path}, ${other})`,
      `os.truncate(${path}, 0)`,
      `os.chmod(${path}, 0)`,
      `os.mkdir(${other})`,
      `os.symlink(${path}, ${other})`,
    ]) {
      expect(await judge(`import os\n${change}\n${right}`), change).toBe(0);
    }
    expect(readdirSync(scratch)).toContain(`kept-${kind}`);
    expect(existsSync(join(scratch, "other"))).toBe(false);
  });

  it("reaches no network, starts no program and signals none", async () => {
    let reached = 0;
    const server = createServer(() => reached++).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    for (const attempt of [
      `import socket; socket.create_connection(('127.0.0.1', ${port}))`,
      `import _socket; _socket.socket().connect(('127.0.0.1', ${port}))`,
      `import os; assert os.system('true') == 0`,
      `import os; os.execv('/bin/true', ['true'])`,
      `import os; os.kill(os.getppid(), 0)`,
      `import subprocess; subprocess.run(['true'])`,
      `import ctypes; ctypes.CDLL(None).getppid()`,
    ]) {
      const program = `try:\n    ${attempt}\nexcept BaseException:\n    x = 0\nelse:\n    x = 1\ndef f(): return x`;
      if (kind === "kernel" && attempt.includes("ctypes")) continue; // harmless there: the kernel refuses, not Python
      expect(await judge(program, { calls: [{ call: "f()", result: 0 }] }), attempt).toBe(1);
    }
    expect(reached).toBe(0);
    server.close();
  });
});

describe.skipIf(!hasPython || !isLinux)("the kernel's filter", () => {
  it("refuses system calls that go round Python", async () => {
    const program = [
      "import ctypes",
      "libc = ctypes.CDLL(None, use_errno=True)",
      "def f(number, *args): return [libc.syscall(number, *args), ctypes.get_errno()]",
    ].join("\n");
    // ctypes is loaded already: it is what installed the filter. Of x86_64: socket, openat of the root, kill, fork, prctl.
    const numbers =
      process.arch === "x64" ? ["41, 2, 1, 0", "257, -100, b'/', 0", "62, 1, 0", "57", "157, 4, 1"] : ["198, 2, 1, 0"];
    const answer = { calls: numbers.map((call) => ({ call: `f(${call})`, result: [-1, 1] })) };
    expect(await verdictOf(pythonVerifier(""), program, answer)).toBe(1);
  });
});
