"""The study of strengths on planted answers: a family left out is predicted, and mean scores mislead."""

from types import SimpleNamespace

import numpy as np
import pytest

from router.pools.models import System
from train.studies.strength import LEAST_SYSTEMS, Annotated, left_out

ABILITY = np.linspace(-1.5, 1.5, 12)


def planted(seed=0):
    """Weaker systems answered the easy benchmark alone, the others the hard one alone, four in the middle both."""
    generator = np.random.default_rng(seed)
    benchmark = np.repeat(["easy", "hard", "gsm8k", "mgsm"], 600)
    level = generator.uniform(1, 5, len(benchmark)).astype(np.float32)
    shift = np.repeat([2.0, -2.0, 0.0, 0.5], 600)
    chance = 1 / (1 + np.exp(-(ABILITY + shift[:, None] - 1.2 * (level[:, None] - 3))))
    score = (generator.random(chance.shape) < chance).astype(np.float32)
    score[:600, 8:], score[600:1200, :4] = np.nan, np.nan
    systems = tuple(System(f"m{number}", "p") for number in range(len(ABILITY)))
    return Annotated(SimpleNamespace(folders=(), systems=systems), np.arange(12), benchmark, level, score)


@pytest.fixture(scope="module")
def found():
    return left_out(planted()).set_index("left out")


def test_a_family_is_left_out_as_a_whole(found):
    assert set(found.index) == {"gsm8k mgsm", "easy", "hard"}
    assert (found["systems"] >= LEAST_SYSTEMS).all()


def test_strengths_order_systems_where_mean_scores_mislead(found):
    assert found.loc["gsm8k mgsm", "answers"] > 0.9 > 0.5 > found.loc["gsm8k mgsm", "mean"]
    assert found.loc["gsm8k mgsm", "published"] == pytest.approx(found.loc["gsm8k mgsm", "answers"])


def test_the_bias_says_that_an_easy_benchmark_was_not_foreseen(found):
    assert found.loc["easy", "answers, bias"] < -0.1 and found.loc["hard", "answers, bias"] > 0.1
