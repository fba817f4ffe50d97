"""RPC link between the test process and the sandboxed program that it tests.

Both processes run this file, by `-c`, and exchange JSON lines. Plain data is copied. Any other object stays where it
is, and the other side holds a `StandIn`, a remote proxy that asks for calls, attributes and operators. The program can
send only what it returns, raises and prints; no message says that a test passed. It never compares, subtracts or
divides by a value of the tests, and reaches only what the tests handed over.
"""

from __future__ import annotations

import ast
import builtins
import collections
import contextlib
import ctypes
import datetime
import decimal
import fractions
import importlib
import inspect
import io
import json
import operator
import os
import resource
import sys
import threading
import types
from collections.abc import Callable, Iterable, Mapping, MappingView
from typing import Any, BinaryIO

PASSED, FAILED, UNFIT = 0, 1, 3  # exit codes of the tests; unfit: they pass an object that cannot be passed
LARGEST = 1 << 24  # bytes of a message
PR_SET_DUMPABLE = 4
ALIASES = {"np": "numpy", "pd": "pandas"}

# Types that are copied: to JSON and back.
COPIED: Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    int: (hex, lambda text: int(text, 16)),
    complex: (lambda x: [x.real, x.imag], lambda parts: complex(*parts)),
    bytes: (bytes.hex, bytes.fromhex),
    range: (lambda x: [x.start, x.stop, x.step], lambda parts: range(*parts)),
    decimal.Decimal: (str, decimal.Decimal),
    fractions.Fraction: (str, fractions.Fraction),
    datetime.datetime: (datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.timedelta: (lambda x: [x.days, x.seconds, x.microseconds], lambda parts: datetime.timedelta(*parts)),
}
BACK = {each.__name__: back for each, (_, back) in COPIED.items()}
SEQUENCES: Mapping[str, Any] = {each.__name__: each for each in (list, tuple, set, frozenset, collections.deque)}
DICTS = (dict, collections.Counter, collections.OrderedDict, collections.defaultdict)
BASES = (*SEQUENCES.values(), dict, int, float, str, bytes)
MUTABLE = (list, dict, set, bytearray, collections.deque)
ERRORS = {name: each for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, Exception)}
NAMED = {each.__name__: each for each in (*BASES, bool, complex, bytearray, object)} | ERRORS

ALONE = "iter next len bool str repr int float index abs neg pos invert round reversed enter exit".split()
ITEMS = "getitem setitem delitem contains".split()
SHOWN = "add mul matmul pow floordiv mod".split()  # the program sees the other operand
JUDGING = "eq ne lt le gt ge sub truediv and or xor".split()  # the program does not see a value of the tests
TURNED = {f"r{each}": each for each in (*SHOWN, "sub", "truediv", "and", "or", "xor")}
# Predicates of text and sets; a program's object could answer them with its own verdict.
PREDICATES = {name for each in (str, set) for name in dir(each) if name.startswith("is") or name.endswith("swith")}


class LinkError(BaseException):
    """The other process ended or sent no valid message. No `except Exception` of a test catches it."""


class UnfitError(BaseException):
    """The tests pass an object that can be neither copied nor represented by a proxy."""


class StandIn:
    """Remote proxy of an object in the other process."""

    __slots__ = ("_link", "_place")

    def __init__(self, link: Link, place: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_place", place)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._link.ask("call", self, list(args), named)

    def __getattr__(self, name: str) -> Any:
        if name not in PREDICATES:
            return self._link.ask("get", self, name)
        value = self._link.ask("copy", self)
        if isinstance(value, StandIn):
            raise AttributeError(name)
        return getattr(value, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self, name, value)

    def __instancecheck__(self, thing: Any) -> bool:
        return isinstance(thing, StandIn) and self._link.ask("operator", self, "isinstance", [thing, self]) is True

    def __hash__(self) -> int:
        return self._place


def _forwarded(name: str) -> Callable[..., Any]:
    plain = TURNED.get(name, name)

    def method(self: StandIn, *args: Any) -> Any:
        if plain in JUDGING and not isinstance(args[0], StandIn):
            value = self._link.ask("copy", self)
            if isinstance(value, StandIn):
                return NotImplemented
            operands = (value, args[0]) if plain == name else (args[0], value)
            return getattr(operator, f"__{plain}__")(*operands)
        if name == "exit":
            args = (args[0], None, None)
        return self._link.ask("operator", self, plain, [self, *args] if plain == name else [args[0], self])

    return method


for _name in (*ALONE, *ITEMS, *SHOWN, *JUDGING, *TURNED):
    setattr(StandIn, f"__{_name}__", _forwarded(_name))


def _operate(name: str, operands: list[Any]) -> Any:
    if name in ("enter", "exit"):
        return getattr(operands[0], f"__{name}__")(*operands[1:])
    return (getattr(operator, f"__{name}__", None) or getattr(builtins, name))(*operands)


class Link:
    """One side of the link; `judge`: the side of the tests."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO, judge: bool) -> None:
        self.reading, self.writing, self.judge = reading, writing, judge
        self.kept: list[Any] = []  # objects that the other side has proxies of
        self.places: dict[int, int] = {}  # of `kept`, by id
        self.errors: dict[int, type] = {}  # exception classes that represent the other side's, by place
        self.turn = threading.RLock()
        self.broken = self.unfit = False
        self.printed = io.StringIO()

    def ask(self, what: str, *data: Any) -> Any:
        """The other side's answer; raises what it raises."""
        with self.turn:
            self._send("ask", what, self._pack(list(data)))
            while True:
                kind, said, packed = self._receive()
                if kind == "ask":
                    self.answer(said, packed)
                    continue
                try:
                    sys.stdout.write(said)
                    value = self._unpack(packed)
                    if kind == "returned" and what == "call":
                        value, after = value
                        _refill((*data[1], *data[2].values()), after)
                    elif kind == "raised":
                        error, args = value
                        value = error.__new__(error, *args)
                        value.args = tuple(args)
                except Exception as error:
                    raise self._break(error) from error
                if kind != "raised":
                    return value
                if not isinstance(value, Exception):
                    raise self._break(value)
                raise value

    def answer(self, what: str, packed: Any) -> None:
        """Do what the other side asks for, and send the result."""
        try:
            thing, *data = self._unpack(packed)
            if self.judge:
                self._check_reach(what, thing, data)
            kind, value = "returned", self._pack(self._do(what, thing, data))
        except Exception as error:
            kind, value = "raised", self._pack([type(error), [*error.args]])
        said = self.printed.getvalue()
        self.printed.seek(0)
        self.printed.truncate()
        self._send(kind, said, value)

    def _do(self, what: str, thing: Any, data: list[Any]) -> Any:
        if what == "call":
            args, named = data
            result = thing(*args, **named)
            return result, [each if type(each) in MUTABLE else None for each in (*args, *named.values())]
        if what in ("get", "set"):
            return (getattr if what == "get" else setattr)(thing, *data)
        if what == "operator":
            return _operate(*data)
        if what == "copy":  # of an object whose class extends list, dict, ...
            return next((base(thing) for base in BASES if isinstance(thing, base)), thing)
        if what == "await":
            return importlib.import_module("asyncio").run(thing)  # costs a tenth of a second, and few programs need it
        main = vars(sys.modules["__main__"])
        if what == "run":
            return exec(compile(thing, "<answer>", "exec"), main)
        return {name: main[name] for name in thing if name in main}

    def _check_reach(self, what: str, thing: Any, data: list[Any]) -> None:
        given = id(thing) in self.places
        instance = given and type(thing).__module__ == "__main__" and not isinstance(thing, type)
        public = what in ("get", "set") and instance and not str(data[0]).startswith("_")
        if what == "call" and given:
            return
        if public and (what == "get" or not callable(getattr(thing, data[0], None))):
            return
        known = data[0] in (*ALONE, *ITEMS, *SHOWN, *JUDGING) if instance else data[0] in ("iter", "next")
        if what == "operator" and given and known:
            return
        raise PermissionError(f"a program may not ask its tests for {what}")

    def _pack(self, x: Any) -> Any:
        kind: Any = type(x)
        if kind in (type(None), bool, str, float) or (kind is int and abs(x) < 1 << 53):
            return x
        if kind in COPIED:
            return [kind.__name__, COPIED[kind][0](x)]
        if SEQUENCES.get(kind.__name__) is kind or isinstance(x, MappingView):
            return [kind.__name__ if kind in BASES else "list", [self._pack(each) for each in x]]
        if kind in DICTS:
            return ["dict", [[self._pack(key), self._pack(value)] for key, value in x.items()]]
        if kind is StandIn:
            return ["yours", x._place]
        if isinstance(x, type) and any(x is each for each in NAMED.values()):
            return ["named", x.__name__]
        if isinstance(x, type) and issubclass(x, Exception):
            if "_place" in vars(x):
                return ["yours", vars(x)["_place"]]
            return ["error", self._keep(x), x.__name__, self._pack(x.__base__)]
        if kind.__module__ == "numpy" and not self.judge and getattr(x, "ndim", 1) == 0:
            return self._pack(x.item())
        if self.judge and not (callable(x) or kind.__module__ == "__main__" or hasattr(kind, "__next__")):
            self.unfit = True
            raise UnfitError(kind.__name__)
        return ["coroutine" if inspect.iscoroutine(x) else "mine", self._keep(x)]

    def _unpack(self, x: Any) -> Any:
        if not isinstance(x, list):
            return x
        kind, value, *more = x
        if kind in BACK:
            return BACK[kind](value)
        if kind in SEQUENCES:
            return SEQUENCES[kind](map(self._unpack, value))
        if kind == "dict":
            return {self._unpack(key): self._unpack(each) for key, each in value}
        if kind == "named":
            return NAMED[value]
        if kind == "yours":
            return self.kept[value]
        if kind == "error":
            made = type(more[0], (self._unpack(more[1]),), {"__module__": "program", "_place": value})
            return self.errors.setdefault(value, made)
        return self._awaited(StandIn(self, value)) if kind == "coroutine" else StandIn(self, value)

    async def _awaited(self, thing: StandIn) -> Any:
        return self.ask("await", thing)

    def _keep(self, x: Any) -> int:
        if id(x) not in self.places:
            self.places[id(x)] = len(self.kept)
            self.kept.append(x)
        return self.places[id(x)]

    def _send(self, *message: Any) -> None:
        try:
            self.writing.write(json.dumps(message).encode() + b"\n")
            self.writing.flush()
        except OSError as error:
            raise self._break(error) from error

    def _receive(self) -> list[Any]:
        try:
            kind, about, packed = json.loads(self.reading.readline(LARGEST))
            if kind in ("ask", "returned", "raised") and isinstance(about, str):
                return [kind, about, packed]
        except (ValueError, TypeError, RecursionError, OSError) as error:
            raise self._break(error) from error
        raise self._break(kind)

    def _break(self, reason: object) -> LinkError:
        self.broken = True
        return LinkError(f"no message: {reason!r:.100}")


def _refill(given: Iterable[Any], after: Iterable[Any]) -> None:
    """Copy the program's changes to its copies back into the lists, dicts and sets of a call."""
    for old, new in zip(given, after, strict=True):
        if type(old) in MUTABLE and new != old:
            old.clear()
            (old.extend if hasattr(old, "extend") else old.update)(new)


def _own_main() -> dict[str, Any]:
    sys.modules["__main__"] = types.ModuleType("__main__")
    return vars(sys.modules["__main__"])


def run_tests(link: Link, program: str, tests: str) -> int:
    """Exit code: PASSED where the program runs to its end, and the tests after it."""
    tree, main = ast.parse(tests, "<tests>"), _own_main()
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    owners = {
        each.value.id for each in ast.walk(tree) if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
    }
    ours = {name: ALIASES.get(name, name) for name in owners if name in ALIASES or name in sys.stdlib_module_names}
    for name, module in ours.items():
        with contextlib.suppress(ImportError):
            main[name] = importlib.import_module(module)
    code: object = 0
    try:
        link.ask("run", program)
        main |= link.ask("names", sorted(used - {*dir(builtins), *ours}))
        exec(compile(tree, "<tests>", "exec"), main)
    except SystemExit as end:  # of unittest.main
        code = end.code
    except BaseException:
        code = FAILED
    if link.unfit:
        return UNFIT
    return PASSED if code in (0, None, False) and not link.broken else FAILED


def main(cpu_s: int, memory: int, packages: list[str], job: int | None) -> None:
    """Run one side, with its limits; `job`: the descriptor that holds both sources, for the side of the tests."""
    limits = {"CPU": cpu_s, "AS": memory, "DATA": memory, "FSIZE": 1 << 24, "NOFILE": 64, "NPROC": 32, "CORE": 0}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    reading, writing, null = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    sys.argv[1:], sys.path[len(sys.path) :] = [], packages
    link = Link(reading, writing, judge=job is not None)
    if job is not None:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no process of the same user reads this one's memory
        with os.fdopen(job, "rb") as sources:
            program, tests = json.load(sources)
        os._exit(run_tests(link, program, tests))
    sys.stdout = link.printed
    _own_main()
    while True:
        _, what, packed = link._receive()
        link.answer(what, packed)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
