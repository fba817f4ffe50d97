"""Command `router batch`: a corpus into a folder of parts, by one process or by several, each on its own GPU.

Processes share only the folder. A run that was stopped goes on with the missing parts.
"""

import logging
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from router.batch.corpus import OUTPUTS, PART_LINES, PartsFolder, Share, read_parts
from router.batch.lines import FORMATS, check_text, route_lines
from router.cli.arguments import Commands, add_choice, add_command, add_common
from router.cli.loading import load_router, needing, show_progress
from router.cli.route import AHEAD, PROBE, TOGETHER, dial_of, options_of, settings_of
from router.errors import UsageError
from router.policy.decision import GOALS

logger = logging.getLogger(__name__)
INPUTS = (*FORMATS, "parquet")


def add_batch(commands: Commands) -> None:
    """Add `router batch` to the parser."""
    examples = ["router batch corpus.parquet --output decisions --output-format parquet"]
    command = add_command(commands, "batch", "route a large corpus into a folder of parts", run_batch, examples)
    add_common(command)
    add = command.add_argument
    add("input", metavar="FILE", help=".txt or .jsonl as for route, or .parquet with the column query (or text)")
    add("--format", choices=INPUTS, help="what FILE is (default: its suffix)")
    add("--output", metavar="DIR", type=Path, required=True, help="folder of the parts; those in it are kept")
    add("--output-format", choices=OUTPUTS, default="jsonl", help="what the parts are (default: jsonl)")
    add_choice(command)


def run_batch(args: Namespace) -> int:
    """Route the missing parts of this process; 0, or 3 when lines failed. Raises RouterError.

    Under a launcher the exit code is 0 also then: a launcher ends all processes when one ends with another code.
    """
    from tqdm import tqdm

    path, share = Path(args.input), Share.of_environment(os.environ)
    if not path.is_file():
        raise UsageError(f"cannot read {path}: {'not a regular file' if path.exists() else 'no such file'}")
    line_format = args.format or path.suffix.removeprefix(".").lower()
    if line_format not in INPUTS:
        raise UsageError(f"{path}: the name ends in none of .{', .'.join(INPUTS)}; say with --format which it is")
    if line_format in FORMATS:
        check_text(path)
    if args.device == "cuda" and "LOCAL_RANK" in os.environ:
        args.device = f"cuda:{os.environ['LOCAL_RANK']}"
    with needing("evaluate", "router batch with Parquet"):
        if "parquet" in (line_format, args.output_format):
            import pyarrow.parquet  # noqa: F401
    router = load_router(args)
    pool, dial = router.pool(args.pool), dial_of(args)
    options = options_of(args, pool)
    router.route(PROBE, dial=dial, **{key: value for key, value in options.items() if key not in GOALS})
    settings = settings_of(args, path, line_format, pool, dial)
    folder = PartsFolder(args.output, args.output_format, {**settings, "part_lines": PART_LINES})
    routed = 0
    parts: Any = read_parts(path, line_format, lambda part: share.has(part) and not folder.has(part))
    quiet = not show_progress(args) or share.process > 0
    for part, lines in tqdm(parts, unit="part", desc="routing", disable=quiet):
        records = route_lines(
            router,
            lines,
            dial=dial,
            batch_size=args.batch_size,
            ahead=AHEAD,
            together=TOGETHER if dial is None else None,
            explain=args.explain,
            options=options,
        )
        folder.write(part, list(records))
        routed += len(lines)
    failed = folder.failed()
    logger.info("%d lines routed by this process, %d failed in all so far, in %s", routed, failed, args.output)
    launched = "WORLD_SIZE" in os.environ or any(name.startswith("ACCELERATE_") for name in os.environ)
    return 3 if failed and not launched else 0
