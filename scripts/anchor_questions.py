"""Anchor questions of `router add`: `python scripts/anchor_questions.py router/onboarding/anchor_questions.jsonl`.

Puzzles of reasoning-gym (`pip install reasoning-gym==0.1.25`, Apache License 2.0), from easy to hard, only kinds with
one right answer that `router.grading` checks by comparison. Kinds made of other people's data are left out (ARC, GSM,
CodeI/O), and those whose questions are ambiguous or longer than MOST_CHARS. The same seed gives the same file.
"""

import argparse
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_gym.factory import create_curriculum, create_dataset, has_curriculum

from router.files import atomic_write
from router.grading.grading import grade, read_task

SEED = 20261129
OF_A_KIND, DRAWN, MOST_CHARS = 9, 40, 800
# Kind of puzzle -> levels of its curriculum; beyond them its questions are too long or take minutes to make.
LEVELS: dict[str, tuple[int, ...]] = {
    "basic_arithmetic": (0, 2, 4), "chain_sum": (0, 2, 4), "decimal_chain_sum": (0, 2, 4), "products": (0, 1, 2),
    "gcd": (0, 2, 4), "lcm": (0, 1, 2), "count_bits": (0, 2, 4), "count_primes": (0, 1, 2), "dice": (0, 1, 2),
    "decimal_arithmetic": (0, 1, 2), "power_function": (0, 1, 2), "coin_flip": (0, 1, 2, 4), "leg_counting": (0, 2, 4),
    "bitwise_arithmetic": (0, 1, 2), "base_conversion": (0, 1, 2), "prime_factorization": (0, 2, 4),
    "calendar_arithmetic": (0, 2, 4), "time_intervals": (0, 2, 4), "simple_equations": (0, 1, 2),
    "advanced_geometry": (0, 2), "aiw": (0, 2, 4), "letter_counting": (0, 2, 4), "spell_backward": (0, 2, 4),
    "binary_alternation": (0,), "isomorphic_strings": (0, 1), "ransom_note": (0,), "course_schedule": (0, 1),
    "largest_island": (0,), "maze": (0,), "path_star": (0, 1, 2), "game_of_life_halting": (0,), "bf": (0,),
    "list_functions": (0,), "word_sorting": (0, 1), "word_sequence_reversal": (0,), "caesar_cipher": (0, 1),
    "syllogism": (0, 2, 4), "knights_knaves": (0, 1, 2), "zebra_puzzles": (0,), "color_cube_rotation": (0, 1),
    "family_relationships": (0, 2, 4), "self_reference": (0,), "rotten_oranges": (0,),
}  # fmt: skip
TOLERANCE = {"power_function": 0.006, "coin_flip": 1e-3, "advanced_geometry": 1e-3}  # of rounded numbers
UNCLEAR = re.compile(r"\d/\d+/\d{4}|orthocenter|circumcircle|incircle")  # month or day first; a point, a wide rounding
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?:/\d+)?°?")
LARGE = 10_000  # whole numbers from here on differ by less than the usual tolerance
UNSURE = "It cannot be determined."


def puzzles(kind: str, level: int, seed: int) -> Iterator[tuple[str, str]]:
    """Questions and right answers of a kind at a level of its curriculum."""
    if has_curriculum(kind):
        curriculum = create_curriculum(kind)
        for name, attribute in curriculum.attributes.items():
            curriculum.set_attr_level(name, min(level, len(attribute.levels) - 1))
        settings: Any = curriculum.generate_configuration({"seed": seed, "size": DRAWN})
        dataset = create_dataset(kind, **vars(settings))
    else:
        dataset = create_dataset(kind, seed=seed, size=DRAWN)
    for number in range(DRAWN):
        yield dataset[number]["question"].strip(), str(dataset[number]["answer"]).strip()


def row(kind: str, query: str, answer: str) -> dict[str, Any] | None:
    """The line of one question; None for an unclear one and for one whose answer the graders do not tell apart."""
    letter = re.search(r'letter "(\w)" appear', query)
    if len(query) > MOST_CHARS or UNCLEAR.search(query) or (letter and letter[1].upper() in query):
        return None
    fields: dict[str, Any] = {"query": query, "kind": kind}
    if NUMBER.fullmatch(answer) and kind not in ("base_conversion", "list_functions"):
        fields |= {"grade": "number", "answer": answer.rstrip("°")}
        if kind in TOLERANCE:
            fields["tolerance"] = TOLERANCE[kind]
        elif answer.lstrip("-").isdigit() and abs(int(answer)) >= LARGE:
            fields["tolerance"] = 0
    else:
        fields |= {"grade": "exact", "answer": spellings(answer)}
    task = read_task(fields, "exact")
    first = answer.rstrip("°")
    said = (first, f"We find it step by step.\n**Answer:** {first}", f"So it is $\\boxed{{{first}}}$.")
    return fields if all(grade(task, each) for each in said) and not grade(task, UNSURE) else None


def spellings(answer: str) -> str | list[str]:
    """The answer, or the ways to write the same list, product or statement."""
    found = [answer, answer.replace(", and ", " and "), answer.replace(", and ", ", ")]
    found += [answer.replace(", ", ",")] if " is a" not in answer else []
    found += [answer.replace(" × ", sign) for sign in (" * ", "×", " x ", r" \times ")]
    different = list(dict.fromkeys(found))
    return answer if len(different) == 1 else different


def questions(seed: int) -> Iterator[dict[str, Any]]:
    """Lines of the file, OF_A_KIND of each kind, spread over its levels."""
    for kind, levels in LEVELS.items():
        random.seed(seed)  # some generators draw from the module's own generator
        taken: dict[str, dict[str, Any]] = {}
        for place, level in enumerate(levels, 1):
            rows = (row(kind, *each) for each in puzzles(kind, level, seed + level))
            for fields in rows:
                if len(taken) >= OF_A_KIND * place // len(levels):
                    break
                if fields is not None:
                    taken.setdefault(fields["query"], fields)
        print(f"{kind:22} {len(taken)}")
        yield from taken.values()


def main() -> None:
    """Write the file that is named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in questions(options.seed)]
    atomic_write(options.file, "".join(lines).encode())
    print(f"{len(lines)} questions, {options.file.stat().st_size:,} bytes")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # some generators draw from sets of texts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    main()
