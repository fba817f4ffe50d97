"""Exception tree: every error that `router` and `train` raise on purpose.

    RouterError
    ├── CheckpointError        a checkpoint folder is missing, incomplete, altered or of an unknown version
    ├── PoolError              a pool file or pool name is wrong, or names a model the checkpoint does not know
    ├── QueryError             a query cannot be routed (empty, too long, not UTF-8); also a ValueError
    │   └── BodyError          the body of an HTTP request cannot be used
    ├── NoCandidateError       the constraints of a request left no model to choose from
    ├── DataError              a data folder breaks the RouteMix-open format; names file, row and column
    ├── UsageError             an argument, flag or setting has a value that is not allowed; also a ValueError
    │   └── CapReachedError    the next request to an LLM could exceed the spending cap
    ├── QueueFullError         more queries wait than the engine may hold
    ├── EngineClosedError      the engine takes no further queries
    ├── UnansweredError        an LLM did not answer one question
    ├── StoppedError           an LLM is sent no further question
    └── GradingError           one answer cannot be graded

`router.serving.protocol.errors.RequestError`, which carries an HTTP status, stands beside the table of these. A message
says what was got, what is allowed and what to do next. Third-party errors are caught where they enter and re-raised
`from` as one of these.
"""

import difflib
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class RouterError(Exception):
    """Root of the tree: catch this to catch everything this project raises on purpose."""

    index: int | None = None  # the query that the error is about, from 0; None: the only one, or all of them

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.index is None else f"queries[{self.index}]: {text}"


class CheckpointError(RouterError):
    """A checkpoint folder is missing, incomplete, altered or of an unknown format version."""


class PoolError(RouterError):
    """A pool file breaks the schema, or a pool or model name is unknown or ambiguous."""


class QueryError(RouterError, ValueError):
    """A query cannot be routed: it is empty, too long, or not text."""


class BodyError(QueryError):
    """The body of a request cannot be used; the message says what was got and what is allowed."""


class NoCandidateError(RouterError):
    """No model of the pool satisfies the constraints; the message says which constraint removed which models."""


class DataError(RouterError):
    """A data folder breaks the RouteMix-open format; the message names file, row and column."""


class UsageError(RouterError, ValueError):
    """An argument, flag or setting has a value that is not allowed."""


class CapReachedError(UsageError):
    """The next request could exceed the spending cap, and no request under way can give money back."""


class QueueFullError(RouterError):
    """More queries wait than the engine may hold: try again soon, or run more replicas."""


class EngineClosedError(RouterError):
    """The engine was closed; it takes no further queries."""


class UnansweredError(RouterError):
    """One question got no answer; others may get one."""


class StoppedError(RouterError):
    """No further question is sent; the client's `fatal` is the reason."""


class GradingError(RouterError):
    """This answer cannot be graded; the message says why."""


@contextmanager
def counted_from(first: int | None) -> Iterator[None]:
    """A block whose errors name their query by its place, counted from `first`; None: there is only one query.

    >>> with counted_from(4):
    ...     raise QueryError("it is empty")
    Traceback (most recent call last):
    router.errors.QueryError: queries[4]: it is empty
    """
    try:
        yield
    except (QueryError, NoCandidateError) as error:
        error.index = None if first is None else first + (error.index or 0)
        raise


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
quoted = _SHORT.repr  # a value for a message: one line, shortened

MAX_COMPARED = 10_000  # names that are compared with a misspelt one; more would take seconds


def known_names(got: str, names: Iterable[str], limit: int = 10) -> str:
    """Names the user may have meant, closest first, for the end of an error message.

    Of more than `limit` names only those like `got` are shown, whatever the case, first those that hold it.

    >>> known_names("gpt-4", ["llama-3", "gpt-4o"])
    'known: gpt-4o, llama-3'
    >>> known_names("a", [str(i) for i in range(12)], limit=2)
    'known: 0, 1, and 10 more'
    >>> known_names("GPT-4", ["llama-3", "phi-4", "gpt-3", "gpt-4o-mini"], limit=3)
    'nearest of 4: gpt-4o-mini, gpt-3, phi-4'
    """
    names = sorted(set(names))
    few = names if len(names) <= MAX_COMPARED else [name for name in names if name[:2] == got[:2]][:MAX_COMPARED]
    lowered: dict[str, list[str]] = {}
    for name in few:
        lowered.setdefault(name.lower(), []).append(name)
    holding = sorted((name for name in lowered if got.lower() in name), key=len)
    like = dict.fromkeys(holding + difflib.get_close_matches(got.lower(), lowered, n=limit, cutoff=0.3))
    close = [name for key in like for name in lowered[key]]
    if close and len(names) > limit:
        return f"nearest of {len(names):,}: {', '.join(close[:limit])}"
    ordered = close + [name for name in names if name not in close]
    shown, rest = ordered[:limit], len(ordered) - limit
    return "known: " + ", ".join(shown) + (f", and {rest} more" if rest > 0 else "")
