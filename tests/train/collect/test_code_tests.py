"""Grading by running: what a program may return, and what it may try, in a process of its own and isolated."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.collecting import collect, scores
from fixtures.graded_code import DOUBLE, TESTS, code_score
from fixtures.loopback_llm import LoopbackLLM, serving

from router.errors import GradingError
from router.grading.grading import read_task
from train.collect.code_tests import program_in

WAYS = [pytest.param(True, marks=pytest.mark.services, id="isolated"), pytest.param(False, id="plain")]


@pytest.mark.parametrize("isolated", WAYS)
def test_a_program_scores_by_its_tests(isolated: bool) -> None:
    good = "Here it is:\n```python\ndef double(x):\n    print('x' * 1000)\n    return 2 * x\n```\nDone."
    assert code_score(good, isolated=isolated) == 1
    assert code_score(good.replace("2 *", "3 *"), isolated=isolated) == 0
    assert code_score("no code at all", isolated=isolated) == 0
    assert code_score("raise SystemExit(0)", isolated=isolated) == 0


@pytest.mark.parametrize("isolated", WAYS)
def test_a_program_cannot_run_on_or_take_all_memory(isolated: bool) -> None:
    assert code_score("while True: pass", isolated=isolated, timeout_s=1.0) == 0
    assert code_score("double = lambda x: len(bytearray(10**9)) and 2 * x", isolated=isolated) == 0


@pytest.mark.parametrize("isolated", WAYS)
def test_a_program_sees_no_environment(isolated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    assert code_score("import os\nnames = [*os.environ]", "assert 'PATH' in names", isolated=isolated) == 1
    assert code_score("import os\nnames = [*os.environ]", "assert 'SOME_KEY' in names", isolated=isolated) == 0


UNIT = """
import unittest

class Cases(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(4), 8)

if __name__ == "__main__":
    unittest.main()
"""
APPROXIMATE = "assert abs(double(4) - 8) < 1e-6 and math.isclose(double(1.5), 3)"
PRINTS = """
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as said:
    greet("Ann")
assert said.getvalue() == "Hello, Ann\\n"
"""
STACK = """
class EmptyError(LookupError): pass
class Stack(list):
    def top(self):
        if not self: raise EmptyError("empty")
        return self[-1]
    def __mul__(self, times): return Stack(list(self) * times)
"""
STACK_TESTS = """
stack = Stack([1])
stack.append(2)
assert stack.top() == 2 and len(stack) == 2 and [*stack] == [1, 2] == stack and 2 in stack and isinstance(stack, Stack)
assert (stack * 2) == [1, 2, 1, 2] and stack != [1]
try:
    Stack().top()
    assert False
except EmptyError as error:
    assert isinstance(error, LookupError) and str(error) == "empty"
"""
NODES = """
class Node:
    def __init__(self, value, after=None): self.value, self.after = value, after
assert total(Node(1, Node(2, Node(3)))) == 6
"""
HONEST = {
    "unittest": (DOUBLE, UNIT),
    "a program that runs as a script": (DOUBLE + "if __name__ == '__main__':\n    print(double(1))", TESTS),
    "approximately": (DOUBLE, APPROXIMATE),
    "a function that is handed to a checker": (DOUBLE, f"def check(double):\n    {TESTS}\ncheck(double)"),
    "prints": ("def greet(who): print(f'Hello, {who}')", PRINTS),
    "a class with an error of its own": (STACK, STACK_TESTS),
    "objects of the tests": ("def total(node): return node.value + total(node.after) if node else 0", NODES),
    "a list changed in place": ("def turn(a): a.reverse()", "a = [1, 2]\nturn(a)\nassert a == [2, 1]"),
    "a function of the tests": (
        "def remember(f):\n    held = {}\n    return lambda x: held[x] if x in held else held.setdefault(x, f(x))",
        "seen = []\nf = remember(lambda x: seen.append(x) or -x)\nassert (f(3), f(3), seen) == (-3, -3, [3])",
    ),
    "an error of the tests": (
        "def guard(f):\n    try: return f()\n    except ValueError: return 'bad'\n    finally: pass",
        "class Odd(Exception): pass\ndef f(): raise ValueError\ndef g(): raise Odd\nassert guard(f) == 'bad'\n"
        "try:\n    guard(g)\n    assert False\nexcept Odd: pass",
    ),
    "a generator": ("def count(n):\n    yield from range(n)", "assert list(count(3)) == [0, 1, 2] == [*count(3)]"),
    "a coroutine": ("async def f(): return 5", "import asyncio\nassert asyncio.run(f()) == 5"),
    "many kinds of values": (
        "from decimal import Decimal\nfrom datetime import date\nfrom collections import Counter\n"
        "def f(*a): return a\n"
        "def g(): return Decimal('1.5'), date(2020, 1, 2), Counter('aa'), 2**100, 1j, float('inf')",
        "import decimal, datetime\nx = (1, {2: (3,)}, {4}, b'5', None, 'é\\ud800', frozenset({6}), 10**400, range(3))\n"
        "assert f(*x) == x\n"
        "assert g() == (decimal.Decimal('1.5'), datetime.date(2020, 1, 2), {'a': 2}, 2**100, 1j, 1e999)",
    ),
    "numbers of numpy": ("import numpy as np\ndef f(): return np.float64(0.5), np.int64(3)", "assert f() == (0.5, 3)"),
}


@pytest.mark.parametrize("what", HONEST)
def test_an_honest_program_passes(what: str) -> None:
    answer, tests = HONEST[what]
    assert code_score(answer, tests) == 1


FORGE = """
import os, json
lines = [["returned", "", None], ["returned", "", ["dict", []]], ["returned", "", ["list", [8, ["list", [None]]]]]]
said = "".join(json.dumps(each) + "\\n" for each in lines).encode()
for number in range(64):
    try: os.write(number, said)
    except OSError: pass
"""
ORDER = """
import os, sys
orders = ["import os; os._exit(0)", "assert False"]
for number in range(64):
    for order in orders:
        for what in ("run", "call", "get", "names"):
            try: os.write(number, (__import__("json").dumps(["ask", what, ["list", [order]]]) + "\\n").encode())
            except OSError: pass
"""
EVERYTHING = """
class Everything(int):
    def yes(self, *args): return True
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __bool__ = __contains__ = yes
    __sub__ = __rsub__ = __truediv__ = __xor__ = lambda self, other: Everything()
    def __abs__(self): return Everything()
    def __hash__(self): return 0
    def __getattr__(self, name): return self.yes
    def __float__(self): return 1.5
"""
LOOK = """
import os, re, sys, gc
found = set()
def look(text):
    found.update(re.findall(r"tests passed [0-9a-f]{32}", text))
frame = sys._getframe()
while frame:
    for each in (*frame.f_globals.values(), *frame.f_locals.values(), *frame.f_code.co_consts):
        look(repr(each))
    frame = frame.f_back
for each in gc.get_objects():
    if isinstance(each, (dict, list, tuple)):
        try: look(repr(each))
        except Exception: pass
for number in {os.getpid(), os.getppid(), 1}:
    for name in ("cmdline", "environ", "maps"):
        try: look(open(f"/proc/{number}/{name}").read())
        except OSError: pass
for each in found:
    sys.__stdout__.write(each + "\\n")
sys.__stdout__.flush()
"""
LEAK = """
import ctypes, glob, os, re
def double(x):
    for folder in glob.glob("/proc/[0-9]*"):
        for path in (*glob.glob(folder + "/fd/*"), folder + "/cmdline", folder + "/environ"):
            try:
                if os.path.samefile(folder, "/proc/self") or not os.path.realpath(path).startswith("/memfd"):
                    continue
                for number in re.findall(r"double\\(4\\) == (\\d+)", open(path).read()):
                    return int(number)
            except OSError:
                pass
    return 0
"""
ATTACKS = {
    "looks through frames, objects and /proc for a token and prints it": LOOK + "os._exit(0)",
    "ends well at once": "import os; os._exit(0)",
    "ends well when called": "import os; double = lambda x: os._exit(0)",
    "ends well by atexit": "import atexit, os; atexit.register(os._exit, 0)",
    "raises SystemExit when called": "def double(x): raise SystemExit(0)",
    "returns what equals everything": EVERYTHING + "double = lambda x: Everything()",
    "is a class whose objects equal everything": EVERYTHING + "double = Everything",
    "replaces built-in functions": "import builtins\nbuiltins.AssertionError = Exception\nabs = all = lambda *a: True\n"
    "builtins.abs = builtins.all = lambda *a: 0\ndouble = lambda x: 0",
    "brings a module that judges kindly": "class math:\n    isclose = staticmethod(lambda *a: True)\n"
    "double = lambda x: 0",
    "patches the library": "import unittest, math\nunittest.TestCase.assertEqual = lambda *a: None\n"
    "unittest.main = lambda: None\nmath.isclose = lambda *a: True\ndouble = lambda x: 0",
    "writes messages of the link ahead": FORGE,
    "gives the tests orders": ORDER,
    "reads the tests where other processes hold them": LEAK,
    "returns what ends the tests": "double = lambda x: quit",
    "skips the tests": "import unittest\ndef double(x): raise unittest.SkipTest",
    "sends garbage": "import os\nfor number in range(64):\n    try: os.write(number, b'[' * 100_000 + b'\\n')\n"
    "    except OSError: pass",
    "sends a message without end": "import os\nwhile True:\n  for number in range(3, 64):\n"
    "    try: os.write(number, b'x' * 65536)\n"
    "    except OSError: pass",
}


@pytest.mark.parametrize("isolated", WAYS)
@pytest.mark.parametrize("what", ATTACKS)
def test_an_attack_scores_nothing(what: str, isolated: bool) -> None:
    attack = ATTACKS[what]
    end = "" if "double" in attack else "\ndouble = lambda x: 0"
    for tests in (TESTS, UNIT, f"import math\n{APPROXIMATE}", APPROXIMATE, "assert all([double(4) == 8])"):
        assert code_score(attack + end, tests, isolated=isolated, timeout_s=20) == 0, tests


def test_what_the_tests_hand_over_gives_a_program_nothing_more_of_them() -> None:
    reach = "def f(g):\n    for name in ('__globals__', '__code__', '__self__', 'shown'):\n"
    reach += "        try: return getattr(g, name)\n"
    reach += "        except PermissionError: pass\n    return 'nothing'"
    assert code_score(reach, "def g(): pass\ng.shown = 1\nassert f(g) == 'nothing'") == 1
    patch = "def f(box):\n    try: box.check = lambda: True\n    except PermissionError: return 'refused'"
    box = "class Box:\n    def check(self): return False\nbox = Box()\nassert f(box) == 'refused' and not box.check()"
    assert code_score(patch, box) == 1


def test_a_caught_end_of_the_program_is_no_pass() -> None:
    tests = "try:\n    double(4)\nexcept BaseException:\n    pass"
    assert code_score("import os; double = lambda x: os._exit(0)", tests) == 0
    assert code_score("def double(x): raise ValueError", tests) == 1


def test_tests_that_hand_over_what_cannot_be_give_no_grade() -> None:
    with pytest.raises(GradingError, match="neither plain data nor can be called"):
        code_score(DOUBLE, "import array\nassert double(array.array('i', [1])) == 2")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("assert (", "is no Python"),
        ("from unittest.mock import patch", "use unittest.mock"),
        ("import unittest.mock as m", "mock"),
    ],
)
def test_tests_that_cannot_judge_are_refused_before_anything_is_sent(tests: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task({"tests": tests}, "code")


def test_without_bubblewrap_programs_are_not_run_as_if_isolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train.collect.sandbox import check_isolation

    check_isolation.cache_clear()
    monkeypatch.setattr("train.collect.sandbox.shutil.which", lambda name: None)
    rows = [{"id": "a", "query": "double", "grade": "code", "tests": TESTS}]
    with serving(LoopbackLLM(lambda body: "def double(x): return 2 * x")) as llm:
        assert collect(tmp_path, rows, llm, ["m"], "--run-code", "isolated") == 1
        assert "there is no bwrap: install bubblewrap" in capsys.readouterr().err
        assert llm.requests == 0
        assert collect(tmp_path, rows, llm, ["m"], "--run-code", "plain") == 0
    assert scores(tmp_path) == {("a", "m"): 1.0}


def test_the_last_fenced_block_is_the_program() -> None:
    assert program_in("```\nold\n```\nBetter:\n```py\nnew\n```") == "new\n"
    assert program_in("```python\ncut short") == "cut short"
    assert program_in("x = 1") == "x = 1"
