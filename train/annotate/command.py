"""Command `python -m train annotate QUERIES --model ID --base-url URL`: labels of queries by LLMs.

Asks for ranked capabilities, knowledge domains and the difficulty of each query and writes them as annotations of a
data folder (docs/data.md). Run it again after a kill, an error or the cap: what was answered is not asked again.
"""

import argparse
import json
import sys
from pathlib import Path

from router.cli.text import usd
from router.errors import CheckpointError, UsageError
from router.files import atomic_text, atomic_write
from router.llm.options import add_llm_options, cache_path, check_cap, check_keys, check_output
from router.llm.session import exit_code, run_session
from router.network.taxonomy import OTHER, Taxonomy
from train.annotate.labels import annotation_form
from train.annotate.run import Plan, annotate, annotators_of
from train.data_folders.query_file import survey


def given_domains(path: Path | None) -> list[str] | None:
    """The domains in a taxonomy.json or in a text file, a name per line; None without a file."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = Taxonomy.from_json(text).domains if path.suffix == ".json" else text.splitlines()
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise UsageError(f"cannot read --taxonomy {path}: {error}") from error
    domains = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not domains:
        raise UsageError(f"--taxonomy {path} names no domain; write one per line, or give a checkpoint's taxonomy.json")
    return domains if OTHER in domains else [*domains, OTHER]


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser("python -m train annotate", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("queries", type=Path, help="a .txt, .jsonl, .csv or .parquet file, or a data folder")
    add("--out", type=Path, default=Path("annotations.jsonl"), metavar="FILE", help="default: %(default)s")
    who = parser.add_argument_group("who annotates", "training reads the first, the others measure agreement")
    add = who.add_argument
    add("--model", action="append", metavar="ID", help="as the endpoint calls it; again for a further annotator")
    add("--base-url", metavar="URL", help="of an OpenAI-compatible endpoint, such as https://api.openai.com/v1")
    add("--key-env", metavar="NAME", help="environment variable that holds the key (default: no key is sent)")
    add("--price-in", action="append", type=float, metavar="USD", help="per million tokens; once, or for each --model")
    add("--price-out", action="append", type=float, metavar="USD", help="per million tokens of answers")
    add("--annotators", type=Path, metavar="POOL.yaml", help="in place of these: a pool file whose entries annotate")
    add("--share", type=float, default=1.0, help="part of the queries that further annotators read (default: all)")
    add("--parallel", dest="concurrency", type=int, metavar="N", help="requests under way at once (default: 16)")
    add("--requests-per-minute", type=float, metavar="N", help="default: no limit")
    add("--tokens-per-minute", type=float, metavar="N", help="default: no limit")
    add("--timeout", type=float, default=60.0, metavar="S", help="of one request (default: %(default)g)")
    parser.add_argument(
        "--taxonomy", type=Path, metavar="FILE", help="allowed domains: taxonomy.json, or a name per line"
    )
    parser.add_argument("--max-chars", type=int, default=8000, metavar="N", help="of a query (default: %(default)s)")
    add_llm_options(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """The command; RouterError where it cannot be done."""
    if options.max_chars < 100:
        raise UsageError(f"--max-chars must be at least 100, got {options.max_chars}")
    plan = Plan(
        options.queries, annotators_of(options), annotation_form(given_domains(options.taxonomy)), options.max_chars
    )
    held = survey(options.queries)
    usual_usd = plan.estimate_usd()
    twice = f" ({held.repeated:,} texts given twice are asked once)" if held.repeated else ""
    who = ", ".join(f"{each.name} {each.endpoint.model}" for each in plan.annotators)
    print(f"{held.queries:,} queries{twice} for {who}: about {usd(usual_usd)}", file=sys.stderr)
    if options.estimate:
        return 0
    check_cap(options, usual_usd)
    check_output(options, options.out)
    check_keys(each.endpoint for each in plan.annotators)
    cache, failed = cache_path(options, options.out), options.out.with_name(options.out.name + ".failed.jsonl")

    with atomic_text(options.out) as notes, atomic_text(failed, keep_empty=False) as failures:
        report = run_session(
            options, cache, held.queries, lambda client, bar: annotate(client, plan, notes, failures, bar)
        )
    about = options.out.with_name(options.out.name + ".report.json")
    atomic_write(about, json.dumps(report.to_json(), indent=1, ensure_ascii=False).encode())
    if not options.quiet:
        print("\n".join(report.lines()))
    if not report.failed:
        return 0
    print(
        f"train: {report.failed:,} sets of labels are missing, see {failed}; run the same command again to ask for "
        "those that got no answer",
        file=sys.stderr,
    )
    return 3


def main(args: list[str] | None = None) -> int:
    """0 when done, 1 on an error of ours, 3 where labels are missing, 130 when interrupted; argparse exits with 2."""
    return exit_code(run, make_parser().parse_args(args))
