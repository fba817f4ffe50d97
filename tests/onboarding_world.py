"""A router that knows the truth about a family of models: new ones of the family are to be found from their answers.

Rows of all models lie on a line of ability and a line of taste, with a little of their own beside; a benchmark and the
price tell of ability. Axes: S systems, n queries, F numbers of a profile.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from router.checkpoint.benchmark_scores import BenchmarkScores
from router.checkpoint.checkpoint import Checkpoint
from router.encoding.torch_encoder import QueryEncoder
from router.network.taxonomy import CAPABILITIES, Taxonomy
from router.network.torch_network import RouterNetwork
from router.network.vectors import Dimensions, QueryVectors
from router.onboarding.add_model import query_features, read_queries
from router.onboarding.graded_answers import Answers, make_answers
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool

WORDS = "prove that two is the root of a prime write python code where who".split()
TEXTS = tuple(" ".join(words) for words in itertools.islice(itertools.permutations(WORDS, 4), 0, 24000, 60))  # 400
CHAT, EXAM = 14, 3  # known models under each protocol
FEATURES = len(CAPABILITIES) + 2 + 3 + 2  # C, K, R, slope, bias
NEW = ModelFacts("new", 0.5, 1.5)
TASTE = np.array([1.0, -1.0, 0.5])  # of the residual, R


def published(ability: float) -> float:
    """What a model of an ability scores on the benchmark: its log odds are the ability."""
    return float(1 / (1 + np.exp(-ability)))


@dataclass(frozen=True)
class World:
    """The router, and what is true."""

    checkpoint: Checkpoint
    centre: np.ndarray  # (R,) mean residual of TEXTS

    def row(self, ability: float, taste: float) -> np.ndarray:
        """The true row (F,) of a model: its mean logit over TEXTS is its ability, and it likes some better than others.

        Mean difficulty is 0.
        """
        return _row(self.centre, ability, taste)

    @cached_property
    def query(self) -> QueryVectors:
        """What the router reads in TEXTS."""
        return read_queries(self.checkpoint.encoder, self.checkpoint.network, TEXTS)

    @cached_property
    def seen(self) -> np.ndarray:
        """Features (n, F) of TEXTS under `chat`."""
        return query_features(self.query, self.checkpoint, "chat")

    def quality(self, row: np.ndarray) -> np.ndarray:
        """Probability (n,) that a model of this row answers each of TEXTS well."""
        return 1 / (1 + np.exp(-self.seen @ row))

    def answers(self, row: np.ndarray, n: int, seed: int = 0, tokens: float | None = None) -> Answers:
        """Graded answers of such a model to n of TEXTS, 0 or 1."""
        generator = np.random.default_rng(seed)
        asked = generator.choice(len(TEXTS), n, replace=False)
        score = generator.random(n) < self.quality(row)[asked]
        return make_answers(
            [TEXTS[i] for i in asked], score.astype(float), None if tokens is None else np.full(n, tokens)
        )

    def log_loss(self, row: np.ndarray, found: np.ndarray) -> float:
        """Expected log-loss over TEXTS of a fitted row where `row` is true, less that of the truth: 0 at best."""
        true, guess = self.quality(row), self.quality(found)
        loss = true * np.log(true / guess) + (1 - true) * np.log((1 - true) / (1 - guess))
        return float(loss.mean())


def _row(centre: np.ndarray, ability: float, taste: float) -> np.ndarray:
    weights = np.zeros(FEATURES - 2)
    weights[-len(TASTE) :] = taste * TASTE
    return np.array([*weights, 1.0, ability - taste * TASTE @ centre])


def make_world(encoder_folder: Path) -> World:
    """The router with CHAT known models under `chat`, EXAM under `exam`, and the pool `both` of two of them."""
    encoder = QueryEncoder.from_pretrained(encoder_folder, max_tokens=32)
    generator = np.random.default_rng(0)
    systems = tuple(System(f"known-{m}", "chat" if m < CHAT else "exam") for m in range(CHAT + EXAM))
    ability = np.linspace(-2, 2, CHAT + EXAM)[generator.permutation(CHAT + EXAM)]
    size = Dimensions(encoder.dimension, len(CAPABILITIES), 2, 2, len(systems), residual=3, hidden=8)
    torch.manual_seed(0)
    network = RouterNetwork(size, torch.tensor([0] * CHAT + [1] * EXAM))
    table = network.profiles
    with torch.no_grad():
        embedding = encoder.encode(list(TEXTS))
        network.heads.fit_scale(embedding, 1)
        for parameter in network.heads.parameters():
            parameter.normal_()
        network.heads.length.weight.mul_(0.3)
        network.heads.residual.weight.mul_(0.7)
        network.heads.difficulty.bias.sub_(network.heads(embedding).difficulty.mean(dim=0))
        centre = network.heads(embedding).residual.mean(dim=0).double().numpy()
        rows = [_row(centre, a, generator.normal()) + generator.normal(0, 0.05, FEATURES) for a in ability]
        found = torch.from_numpy(np.stack(rows)).float()
        table.weight.copy_(found[:, :-2])
        table.slope.copy_(found[:, -2])
        table.bias.copy_(found[:, -1])
        table.log_tokens.fill_(np.log(100.0))
        table.mean_score.copy_(torch.from_numpy(1 / (1 + np.exp(-ability))))
        table.mean_input_tokens.fill_(5.0)
        table.mean_output_tokens.fill_(100.0)
    facts = {
        system.model: ModelFacts(system.model, 0.1, float(round(np.exp(a), 3)))
        for system, a in zip(systems, ability, strict=True)
    }
    strongest, weakest = int(ability[:CHAT].argmax()), int(ability[:CHAT].argmin())
    both = Pool("both", tuple(Candidate(facts[f"known-{m}"], systems[m]) for m in (strongest, weakest)))
    scores = {s.model: published(float(a)) for s, a in zip(systems, ability, strict=True) if s.protocol == "chat"}
    few = dict(list(scores.items())[:3])
    benchmarks = BenchmarkScores({("Arena-Hard", "chat"): scores, ("rare", "chat"): few})
    taxonomy = Taxonomy(("Algebra", "other"))
    made = Checkpoint(
        encoder, network.eval(), taxonomy, systems, ("chat", "exam"), facts, {"both": both}, "both",
        benchmarks=benchmarks,
    )  # fmt: skip
    return World(made, centre)


def write_folder(
    folder: Path,
    world: World,
    models: dict[str, np.ndarray],
    *,
    like: str = "chat",
    protocol: str = "mine",
    prices: dict[str, tuple[float, float] | None] | None = None,
    hidden: float | None = None,
    known: str | None = None,
) -> None:
    """A data folder of outcomes of `models` (their true rows, as under protocol `like`) on TEXTS: folds 0 to 6 train.

    Answers are as long as the router reads in a query, times 80 tokens, and some noise. With `hidden` a cost column
    records that many times the answer's tokens. `known` is a trained system's id, for which there are outcomes too.
    """
    generator = np.random.default_rng(5)
    seen = query_features(world.query, world.checkpoint, like)
    log_length = world.query.log_length[:, world.checkpoint.protocols.index(like)].double().numpy()
    ids = [f"q{i}" for i in range(len(TEXTS))]
    fold = np.arange(len(TEXTS)) % 10
    split = np.where(fold < 7, "train", np.where(fold == 7, "val", "test"))
    folder.mkdir(exist_ok=True)
    queries = {"query_id": ids, "benchmark": "mine", "text": TEXTS, "split": split, "fold": fold}
    pd.DataFrame(queries).to_parquet(folder / "queries.parquet")
    prices = {name: (0.5 * 4**m, 2.0 * 4**m) for m, name in enumerate(models)} | (prices or {})
    parts = []
    columns = {(name, protocol): row for name, row in models.items()}
    if known is not None:
        model, _, trained = known.partition("@")
        columns[model, trained] = world.row(0.0, 0.0)
    for (name, protocol_of), row in columns.items():
        tokens = 80 * np.exp(log_length + generator.normal(0, 0.3, len(TEXTS)))
        score = (generator.random(len(TEXTS)) < 1 / (1 + np.exp(-seen @ row))).astype(float)
        part = {"query_id": ids, "model": name, "protocol": protocol_of, "score": score, "output_chars": 4 * tokens}
        if hidden is not None:
            price_in, price_out = prices.get(name) or (1.0, 1.0)
            prompt = np.array([len(text) / 4 for text in TEXTS])
            part["cost_usd"] = (prompt * price_in + hidden * tokens * price_out) / 1e6
        parts.append(pd.DataFrame(part))
    pd.concat(parts).to_parquet(folder / "outcomes.parquet")
    table = [(name, *(prices.get(name) or (None, None))) for name, _ in columns]
    facts = pd.DataFrame(table, columns=["model", "input_usd_per_mtok", "output_usd_per_mtok"])
    facts.to_csv(folder / "models.csv", index=False)
