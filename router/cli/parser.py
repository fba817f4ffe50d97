"""Argparse parser that explains a mistyped command line in one line.

For an unknown flag it names the flag most like it; for words behind a query it says to quote the query.
"""

import argparse
import difflib
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """As argparse's, also for the commands that are added to it."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """The parsed arguments; ends with exit code 2 and one line where some are left over."""
        self._given = sys.argv[1:] if args is None else list(args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self._refuse(self._flags(rest), found, rest)
        return found, rest

    def error(self, message: str) -> NoReturn:
        """As argparse's; a flag that is missing because it was misspelt is named."""
        if "required" in message and (strange := self._flags(self._given)):
            self._refuse(strange)
        super().error(message)

    def _flags(self, args: Sequence[str]) -> list[str]:
        """Flags in `args` that the parser does not know."""
        before = args[: args.index("--")] if "--" in args else args
        names = [each.partition("=")[0] for each in before if each.startswith("-") and each != "-"]
        return [name for name in names if name not in self._option_string_actions]

    def _refuse(
        self, flags: Sequence[str], found: argparse.Namespace | None = None, rest: Sequence[str] = ()
    ) -> NoReturn:
        query = getattr(found, "query", None)
        if flags:
            like = difflib.get_close_matches(flags[0], self._option_string_actions, n=1)
            hint = f"did you mean {like[0]}?" if like else f"`{self.prog} --help` lists those there are"
            message = f"there is no flag {flags[0]}: {hint}"
        elif query is not None:
            words = shlex.quote(" ".join([query, *rest]))
            message = f"a query is one argument: quote the query, {self.prog} {words}"
        else:
            message = f"unrecognized arguments: {' '.join(rest)}"
        self.exit(2, f"router: error: {message}\n")
