"""Command `router anchors`: the queries whose graded answers say most about a new model, written to a file.

Heavy packages are imported inside.
"""

import json
from argparse import Namespace
from pathlib import Path

from router.cli.arguments import Commands, add_command, add_common, number
from router.cli.loading import find_checkpoint, needing, print_json, show_progress
from router.errors import UsageError, known_names


def add_anchors(commands: Commands) -> None:
    """Add `router anchors` to the parser."""
    examples = ["router anchors --n 50 --queries my_queries.txt --output ask.jsonl"]
    command = add_command(commands, "anchors", "choose which queries to grade for a new model", run_anchors, examples)
    add_common(command)
    add = command.add_argument
    add("--n", type=number(int, 1), default=50, metavar="N", help="how many (default: 50)")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--queries", metavar="FILE", help="choose from these queries: .txt or .jsonl, as for route")
    source.add_argument("--data", metavar="DIR", help="choose from the train split of a data folder")
    add("--output", metavar="FILE", required=True, help="where to write them, as .jsonl")
    add("--force", action="store_true", help="replace FILE")
    add("--protocol", metavar="NAME", help="how the model will be prompted (default: the default pool's)")
    add("--seed", type=number(int, 0), default=0, help="another draw (default: 0)")


def run_anchors(args: Namespace) -> int:
    """Write the queries whose graded answers say most about a new model."""
    from router.batch.resumable_file import check_output
    from router.checkpoint.storage import load_checkpoint
    from router.files import atomic_write
    from router.onboarding.add_model import default_protocol
    from router.onboarding.anchors import anchors_among
    from router.onboarding.prior import prior_for

    output = Path(args.output)
    check_output(output, resume=False, force=args.force)
    texts = list(dict.fromkeys(_texts(args)))
    if not texts:
        raise UsageError(f"{args.queries or args.data} holds no query to choose from")
    checkpoint = load_checkpoint(find_checkpoint(args.checkpoint), backend=args.backend)
    protocol = args.protocol or default_protocol(checkpoint)
    if protocol not in checkpoint.protocols:
        raise UsageError(f"unknown protocol {protocol!r}; {known_names(protocol, checkpoint.protocols)}")
    if args.n > len(texts):
        raise UsageError(f"--n {args.n} of {len(texts)} different queries: ask for {len(texts)} at most")
    prior = prior_for(checkpoint, protocol)
    chosen = anchors_among(checkpoint, protocol, prior, texts, args.n, args.seed, show_progress(args))
    lines = [json.dumps({"id": number, "query": texts[row]}) for number, row in enumerate(chosen.rows, 1)]
    atomic_write(output, ("\n".join(lines) + "\n").encode())
    if args.json:
        print_json({"output": args.output, "n": len(lines), "of": chosen.read, "protocol": protocol})
    else:
        print(
            f"{len(lines)} of {chosen.read} queries in {args.output}: answer them with the new model, add to each line"
        )
        print('"score" (0 to 1) and, if known, "output_tokens", then')
        print("  router onboard MODEL --answers FILE --into CHECKPOINT")
    return 0


def _texts(args: Namespace) -> list[str]:
    if args.queries is not None:
        from router.batch.lines import check_text, parse_line, read_lines
        from router.cli.route import line_format_of

        line_format = line_format_of(Path(args.queries))
        check_text(Path(args.queries))
        with open(args.queries, "rb") as stream:
            lines = [parse_line(raw, line_format) for raw in read_lines(stream)]
        bad = next((line for line in lines if line.error is not None), None)
        if bad is not None:
            raise UsageError(f"{args.queries}, line {bad.number}: {bad.error}")
        return [line.query for line in lines if line.query.strip()]
    with needing("evaluate", "router anchors --data"):
        from router.evaluation.dataset import read_dataset
    queries = read_dataset(args.data).queries
    return queries["text"][queries["split"] == "train"].tolist()
