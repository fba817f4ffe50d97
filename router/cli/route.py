"""Command `router route`: one query to a readable decision, or lines of queries to JSON lines.

Chooses input, output and how an interrupted run goes on. `router.batch.lines` routes the lines,
`router.batch.resumable_file` keeps the output.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import router as package
from router.batch.lines import FORMATS, RawLine, check_text, encode_record, parse_line, read_lines, route_lines
from router.batch.resumable_file import ResumableFile, check_output, partial_of
from router.cli.arguments import Commands, add_choice, add_command, add_common
from router.cli.loading import find_checkpoint, load_router, show_progress
from router.cli.text import decision_lines
from router.errors import UsageError
from router.options import DEFAULT_DIAL
from router.policy.decision import GOALS

if TYPE_CHECKING:
    from router.pools.pool import Pool
    from router.routing.router import Router

logger = logging.getLogger(__name__)

STDIN = "-"
TOGETHER = 1000  # lines of a file that meet a budget or quality as a whole
AHEAD = 16  # batches of a file that are read together and sorted by length
PROBE = "?"  # the least demanding query: if no candidate may answer it, none may answer any


def add_route(commands: Commands) -> None:
    """Add `router route` to the parser."""
    command = add_command(
        commands,
        "route",
        "choose a model for a query, or for every line of a file or of stdin",
        run_route,
        (
            'router route --explain --dial 5 "Is this clause enforceable in Delaware?"',
            "router route --input queries.txt --output decisions.jsonl --budget 0.5",
        ),
    )
    add_common(command)
    command.add_argument(
        "query", nargs="?", help="the query; `-`, or nothing where stdin is piped, reads one query per line from stdin"
    )
    files = command.add_argument_group("many queries, to one JSON line each")
    files.add_argument(
        "--input",
        metavar="FILE",
        help=".txt: a query per line; .jsonl: per line an object with the key query (or text) and optionally id, dial",
    )
    files.add_argument("--format", choices=FORMATS, help="what the lines are (default: the file's suffix; stdin: txt)")
    files.add_argument("--output", metavar="FILE", type=Path, help="write there, by way of FILE.partial, not to stdout")
    files.add_argument("--resume", action="store_true", help="continue the FILE.partial of an interrupted run")
    files.add_argument("--force", action="store_true", help="replace FILE; without --resume also discard FILE.partial")
    add_choice(command)


def run_route(args: Namespace) -> int:
    """Route the queries that `args` name; 0 when all are routed, 3 when lines failed. Raises RouterError."""
    source = _source(args)
    if source is None:
        return _route_one(args)
    path = None if source == STDIN else Path(source)
    if path is not None and not path.is_file():
        raise UsageError(f"cannot read --input {path}: {'not a regular file' if path.exists() else 'no such file'}")
    line_format = args.format or line_format_of(path)
    if path is not None:
        check_text(path)
    _check_streaming(args, path)
    if path is None:
        return _route_stream(args, sys.stdin.buffer, None, line_format)
    with path.open("rb") as stream:
        return _route_stream(args, stream, path, line_format)


def _source(args: Namespace) -> str | None:
    """The input: `-` for stdin, a path, or None where the query itself is given."""
    if args.query is not None and args.input is not None:
        raise UsageError("give a query or --input FILE, not both")
    if args.input is not None:
        return args.input
    at_terminal = sys.stdin is None or sys.stdin.isatty()
    if args.query == STDIN or (args.query is None and not at_terminal):
        return STDIN
    if args.query is None:
        raise UsageError('nothing to route: give a query ("..."), --input FILE, or lines of queries on stdin')
    return None


def line_format_of(path: Path | None) -> str:
    """The line format by the file's suffix; txt for stdin."""
    if path is None:
        return "txt"
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"--input {path}: the name ends neither in .txt (a query per line) nor in .jsonl (an object with the key "
            "query per line); say with --format which it is"
        )
    return suffix


def _check_streaming(args: Namespace, path: Path | None) -> None:
    """Raise UsageError for flags that would lose data, before slow work begins."""
    if args.output is None:
        if args.resume or args.force:
            raise UsageError("--resume and --force are about --output FILE: name it")
        return
    if str(args.output) == STDIN:
        raise UsageError("--output - is no file: leave --output out to write to stdout")
    if args.resume and path is None:
        raise UsageError("--resume needs --input FILE: what came through stdin cannot be read again")
    if args.output.is_dir():
        check_output(args.output, resume=False, force=False)  # raises: it is a folder
    written = (args.output, partial_of(args.output))
    if path is not None and any(each.exists() and each.samefile(path) for each in written):
        raise UsageError(f"--output {args.output} would overwrite the input {path}: name another file")
    check_output(args.output, resume=args.resume, force=args.force)


def options_of(args: Namespace, pool: Pool) -> dict[str, Any]:
    """The options of `Router.route`, without queries, dials and batch size."""
    return {
        "pool": pool,
        "allow": args.allow,
        "deny": args.deny,
        "tools": args.tools,
        "images": args.images,
        "context_tokens": args.context_tokens,
        "max_price_usd_per_mtok": args.max_price,
        "top": args.top,
        **{name: value for name in GOALS if (value := getattr(args, name)) is not None},
        "guard": args.guard,
        "attitude": args.attitude,
    }


def dial_of(args: Namespace) -> float | None:
    """The dial; None where a budget or a quality is given."""
    if any(getattr(args, name) is not None for name in GOALS):
        return None
    return DEFAULT_DIAL if args.dial is None else args.dial


def _log_dial(router: Router, options: Mapping[str, Any]) -> None:
    """Log the dial that meets the goal of one query or a stream, with its figures on validation."""
    goal = {name: options[name] for name in GOALS if name in options}
    if goal:
        point = router.dial_for(options["pool"], **goal)
        logger.info(
            "dial %g: on validation $%.3g per 1,000 queries and quality %.3f predicted, %.3f scored",
            *(point.dial, point.cost_usd_per_1k, point.quality, point.score),
        )


def _route_one(args: Namespace) -> int:
    if args.output or args.resume or args.force or args.format:
        raise UsageError("--output, --resume, --force and --format go with --input FILE or with lines on stdin")
    router = load_router(args)
    options = options_of(args, router.pool(args.pool))
    decision = router.route(args.query, dial=dial_of(args), **options)
    _log_dial(router, options)
    if args.json:
        print(json.dumps(decision.to_json(), allow_nan=False))
    else:
        print("\n".join(decision_lines(decision, explain=args.explain)))
    return 0


def _route_stream(args: Namespace, stream: BinaryIO, path: Path | None, line_format: str) -> int:
    router = load_router(args)
    pool, dial = router.pool(args.pool), dial_of(args)
    options = options_of(args, pool)
    together = TOGETHER if dial is None and path is not None else None
    probe = {name: value for name, value in options.items() if not together or name not in GOALS}
    router.route(PROBE, dial=dial, **probe)  # constraints that no query can meet: one error, not one per line
    if not together:
        _log_dial(router, options)
    sink: ResumableFile | _Printed = _Printed()
    if args.output is not None:
        settings = settings_of(args, path, line_format, pool, dial)
        sink = ResumableFile(args.output, settings, resume=args.resume, force=args.force, multiple_of=together or 1)
    kept = sink.done
    if kept:
        logger.info("resuming after %d finished lines", kept)
    batch_size = 1 if stream.isatty() else args.batch_size
    ahead = AHEAD if path is not None else 1  # the writer of a pipe may wait for an answer to each batch
    flush_after = together or ahead * batch_size
    try:
        with sink, _progress(args, path) as bar:
            lines = (parse_line(raw, line_format) for raw in _after(read_lines(stream), kept, bar))
            records = route_lines(
                router,
                lines,
                dial=dial,
                batch_size=batch_size,
                ahead=ahead,
                together=together,
                explain=args.explain,
                options=options,
            )
            for record in records:
                sink.write(encode_record(record), failed="error" in record)
                if (sink.done - kept) % flush_after == 0:
                    sink.flush()
            sink.flush()
    except BaseException as stop:
        _log_how_to_resume(args, sink, path, stop)
        raise
    return _summary(args, sink)


def _after(lines: Iterator[RawLine], kept: int, bar: Any) -> Iterator[RawLine]:
    """The lines after the first `kept`; the bar moves over all of them."""
    for raw in lines:
        bar.update(raw.size)
        bar.set_postfix_str(f"{raw.number} lines", refresh=False)
        if raw.number > kept:
            yield raw


def _progress(args: Namespace, path: Path | None) -> Any:
    from tqdm import tqdm

    total = path.stat().st_size if path else None
    return tqdm(total=total, unit="B", unit_scale=True, desc="routing", disable=not show_progress(args))


def settings_of(
    args: Namespace, path: Path | None, line_format: str, pool: Pool, dial: float | None
) -> Mapping[str, Any]:
    """All settings that records depend on; a partial output is continued only where they are equal."""
    checkpoint = find_checkpoint(args.checkpoint)
    config = Path(checkpoint) / "config.json"  # holds the sha256 of all weights
    onboarded = Path(checkpoint) / "onboarded.safetensors"
    settings = {
        "input_sha256": None,
        "format": line_format,
        "checkpoint": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else checkpoint,
        "onboarded_sha256": hashlib.sha256(onboarded.read_bytes()).hexdigest() if onboarded.is_file() else None,
        "pool_sha256": hashlib.sha256(repr(pool).encode()).hexdigest(),
        "dial": dial,
        "explain": args.explain,
        "index": args.index,
        "backend": args.backend,
        "version": package.__version__,
        **options_of(args, pool),
        "pool": pool.name,
    }
    if path is not None:
        with path.open("rb") as content:
            settings["input_sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    return settings


def _log_how_to_resume(args: Namespace, sink: ResumableFile | _Printed, path: Path | None, stop: BaseException) -> None:
    if isinstance(sink, _Printed):
        if isinstance(stop, KeyboardInterrupt):
            logger.error("stopped after %d lines; a run with --input FILE --output FILE can be resumed", sink.done)
        return
    if path is None:
        logger.error(
            "%s keeps %d finished lines; stdin cannot be resumed, start over with --force", sink.partial, sink.done
        )
    else:
        command = shlex.join(["router", *args.argv, *([] if args.resume else ["--resume"])])
        logger.error("%s keeps %d finished lines; go on with: %s", sink.partial, sink.done, command)


def _summary(args: Namespace, sink: ResumableFile | _Printed) -> int:
    where = f" in {args.output}" if args.output else ""
    if sink.failed:
        logger.error(
            "%d of %d lines failed, see the records with the key error%s; the others are routed",
            sink.failed,
            sink.done,
            where,
        )
        return 3
    logger.info("%d lines routed%s", sink.done, where and f",{where}")
    return 0


class _Printed(nullcontext[None]):
    """Records on stdout, with the interface of `ResumableFile`."""

    def __init__(self) -> None:
        super().__init__()
        self.done = self.failed = 0

    def write(self, line: bytes, *, failed: bool) -> None:
        sys.stdout.write(line.decode())
        self.done += 1
        self.failed += failed

    def flush(self) -> None:
        sys.stdout.flush()
