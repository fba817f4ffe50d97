"""A small planted world with an untrained router for it: what the studies of a finished checkpoint are tried on."""

from __future__ import annotations

from pathlib import Path

import torch

from router.checkpoint.checkpoint import Checkpoint, save_checkpoint
from router.encoding.torch_encoder import QueryEncoder
from router.network.taxonomy import CAPABILITIES, Taxonomy
from router.network.torch_network import RouterNetwork
from router.network.vectors import Dimensions
from router.pools.models import System
from router.pools.pool import Pool, read_pool
from train.data_folders.synthetic.command import PROTOCOL, write_planted
from train.data_folders.synthetic.models import MODELS

QUERIES = 400


def write_planted_checkpoint(parent: Path, encoder_folder: Path) -> tuple[Path, Path]:
    """Folders of the data and of a checkpoint with random weights, without dial tables."""
    data, folder = parent / "data", parent / "router"
    write_planted(data, QUERIES)
    systems = tuple(System(model.name, PROTOCOL) for model in MODELS)
    encoder = QueryEncoder.from_pretrained(encoder_folder, max_tokens=32)
    taxonomy = Taxonomy(("Algebra", "other"))
    torch.manual_seed(0)
    size = Dimensions(encoder.dimension, len(CAPABILITIES), 2, 1, len(systems), hidden=8)
    network = RouterNetwork(size, torch.zeros(len(systems)))
    with torch.no_grad():
        network.profiles.weight.normal_()
        network.profiles.log_tokens.fill_(4.0)
    planted = read_pool(data / "pool.yaml", systems)
    pool = Pool(planted.name, planted.candidates, 0.001)
    facts = {candidate.facts.id: candidate.facts for candidate in pool.candidates}
    made = Checkpoint(encoder, network, taxonomy, systems, (PROTOCOL,), facts, {pool.name: pool}, pool.name)
    save_checkpoint(made, folder)
    return data, folder
