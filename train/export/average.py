"""Weight average of two encoders of one architecture: `python -m train average`.

A fine-tuned encoder is better on benchmarks and worse on domains than the encoder it started from; the mean of their
weights keeps both strengths (WiSE-FT, Wortsman et al., 2109.01903).
"""

import argparse

import torch

from router.encoding.torch_encoder import DEFAULT_ENCODER, QueryEncoder
from router.errors import UsageError


def average(start: QueryEncoder, tuned: QueryEncoder, share: float) -> QueryEncoder:
    """`start` with its weights moved the `share` in [0, 1] of the way to those of `tuned`; changes `start`.

    Raises UsageError for a share out of range or encoders of different shapes.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share must lie in 0 (the start) to 1 (the tuned encoder), got {share}")
    ours, theirs = start.state_dict(), tuned.state_dict()
    if {name: tensor.shape for name, tensor in ours.items()} != {name: tensor.shape for name, tensor in theirs.items()}:
        raise UsageError("the two encoders differ in shape: average a fine-tuned encoder with the one it started from")
    start.load_state_dict(
        {
            name: torch.lerp(tensor, theirs[name], share) if tensor.is_floating_point() else tensor
            for name, tensor in ours.items()
        }
    )
    return start


def main(args: list[str] | None = None) -> int:
    """Write the averaged encoder as a sentence-transformers folder; 0 when done."""
    parser = argparse.ArgumentParser(
        prog="python -m train average",
        description="Averages the weights of two encoders of one architecture: "
        "`python -m train average START TUNED --out FOLDER`.",
    )
    parser.add_argument("start", help=f"encoder folder, hub id, or {DEFAULT_ENCODER}")
    parser.add_argument("tuned", help="fine-tuned encoder folder")
    parser.add_argument("--share", type=float, default=0.5, help="of the tuned weights (default %(default)s)")
    parser.add_argument("--out", required=True, help="folder to write")
    options = parser.parse_args(args)
    tuned = QueryEncoder.from_pretrained(options.tuned)
    average(QueryEncoder.from_pretrained(options.start), tuned, options.share).save_pretrained(options.out)
    return 0
