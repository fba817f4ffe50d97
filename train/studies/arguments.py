"""Command-line arguments of the studies: a checkpoint, a data folder, folds."""

from __future__ import annotations

import argparse

from router.errors import UsageError
from router.evaluation.dataset import Dataset, data_folder, read_dataset
from router.routing.router import Router


def study_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser of `python -m train COMMAND CHECKPOINT [--data DIR]`."""
    parser = argparse.ArgumentParser(prog=f"python -m train {command}", description=description)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", help="data folder; default ROUTEMIX_DIR, else data/routemix-open")
    return parser


def router_and_data(options: argparse.Namespace) -> tuple[Router, Dataset]:
    """The checkpoint's router, computed by torch, and the data folder. RouterError where one cannot be read."""
    return Router.from_pretrained(options.checkpoint, backend="torch"), read_dataset(data_folder(options.data))


def folds(text: str) -> list[int]:
    """Folds from text such as `7` or `8,9`, as an argparse type.

    >>> folds("8,9")
    [8, 9]
    """
    if not all(part in tuple("0123456789") for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed are whole numbers from 0 to 9, separated by commas")
    return [int(part) for part in text.split(",")]


def apart(chosen_on: list[int], judged_on: list[int]) -> tuple[list[int], list[int]]:
    """Both lists, if they share no fold; UsageError if they do."""
    if set(chosen_on) & set(judged_on):
        raise UsageError(f"folds {chosen_on} choose and folds {judged_on} judge: no fold may do both")
    return chosen_on, judged_on
