"""A small checkpoint with random weights, and ways to break it once it is a folder; see the fixtures in conftest.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from router.checkpoint.checkpoint import Checkpoint
from router.checkpoint.layout import seal
from router.encoding.torch_encoder import QueryEncoder
from router.network.taxonomy import Taxonomy
from router.network.torch_network import RouterNetwork
from router.network.vectors import Dimensions
from router.pools.models import ModelFacts, System
from router.pools.pool import Candidate, Pool
from router.routing.router import Router

# E, C, K, P, S, R, hidden = 24 (two layers of 12), 9, 4, 2, 3, 5, 7
SYSTEMS = (System("large", "chat"), System("small", "chat"), System("small", "exam"))
FACTS = {
    "large": ModelFacts("large", 2.5, 10.0, "2024-11", 128_000, ("text", "image"), True, ("openai",)),
    "small": ModelFacts("small", 0.1, 0.4, tags=("open",)),
}


def make_checkpoint(encoder_folder: Path) -> Checkpoint:
    """A checkpoint with random weights; the encoder's are rounded to half precision already."""
    torch.manual_seed(0)
    network = RouterNetwork(Dimensions(24, 9, 4, 2, 3, residual=5, hidden=7), torch.tensor([0, 0, 1]))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and name.startswith("profiles"):
            tensor.normal_()
    encoder = QueryEncoder.from_pretrained(
        encoder_folder, max_tokens=100, head_share=0.6, layers=(1, 2), correct_typos=True
    )
    for tensor in encoder.state_dict().values():
        tensor.copy_(tensor.half().float())
    cheaper = replace(FACTS["large"], id="large-eu", input_usd_per_mtok=2.0)
    pools = {
        "both": Pool("both", (Candidate(FACTS["large"], SYSTEMS[0]), Candidate(FACTS["small"], SYSTEMS[2])), 0.25),
        "odd": Pool(
            "odd",
            (
                Candidate(cheaper, SYSTEMS[0]),
                Candidate(ModelFacts("small", 0.1, 0.5), SYSTEMS[1]),  # no tags, another price than the model's
                Candidate(ModelFacts("new", 1.0, 2.0)),  # at the prior of its price class
            ),
        ),
    }
    taxonomy = Taxonomy(("Algebra", "Law", "Élan vital", "other"), {"Linear Algebra": "Algebra"})
    return Checkpoint(
        encoder,
        network,
        taxonomy,
        SYSTEMS,
        ("chat", "exam"),
        FACTS,
        pools,
        "both",
        "# Card\n",
        {"seed": 1, "lr": [0.1]},
    )


def make_steerable_router(checkpoint: Checkpoint, texts: Sequence[str]) -> Router:
    """A router whose choices in the pool `both` hang on the wording: it sends half of `texts` to either model."""
    router = Router(deepcopy(checkpoint))
    torch.manual_seed(1)
    for parameter in router.network.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # far from where quality saturates
    quality = router.predict(texts, "both").quality
    lead = (quality[:, 0].logit() - quality[:, 1].logit()).median()
    with torch.no_grad():
        router.network.profiles.bias[SYSTEMS.index(System("large", "chat"))] -= lead
    router.gathered._candidates.clear()  # gathered before the change
    return router


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Change parsed JSON in place."""
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


def reseal(folder: Path) -> None:
    """Make the recorded sha256 those of the files as they are: what a careless editor of a checkpoint might do."""
    found = seal(folder)
    edit(folder / "config.json", lambda raw: raw.update(sha256=found))
