"""Training command line: `lightning fit --config ...`, also spelled `python -m train fit ...`.

Connects LightningCLI with our classes: linked arguments, and what every trainer gets. A user's mistake is one line on
stderr.
"""

import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from router.encoding.tokenizer import CORRECT_TYPOS
from router.errors import RouterError, UsageError
from router.files import atomic_path
from train.data.datamodule import RoutingDataModule
from train.export.callback import ExportRouter
from train.fit.module import RoutingModule

REMOVED = {"correct_typos": CORRECT_TYPOS} | {
    name: f"{name} was removed, since no configuration used it; leave it out"
    for name in ("augment", "augmented_copies", "sharing_weight", "residual_weight", "profile_decay")
}
# Arguments of the module that the data module gets too.
SHARED = ("encoder", "max_tokens", "layers", "form", "freeze_encoder")


class LoggedConfig(SaveConfigCallback):
    """Logs the whole configuration, with optimizer, data and trainer, as hyper-parameters of the run."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=True))
        config["trainer"].pop("logger", None)
        for logger in trainer.loggers:
            logger.log_hyperparams(config)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Training checkpoints in Lightning's own format; a killed write leaves the previous file whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        with atomic_path(Path(path)) as sibling:
            super().save_checkpoint(checkpoint, sibling, storage_options)


class Parser(LightningArgumentParser):
    """The parser, which says of a removed option that it was removed."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        for name, reason in REMOVED.items():
            if re.search(rf"\b{name}\b", message):
                raise UsageError(reason) from ex
        super().error(message, ex)


class RoutingCLI(LightningCLI):
    """LightningCLI with the linked arguments, an `export:` section and checkpoints that survive a kill."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ExportRouter, "export")
        for name in SHARED:
            parser.link_arguments(f"model.{name}", f"data.{name}")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config_init[self.subcommand] if self.subcommand else self.config_init
        plugins = config["trainer"].get("plugins") or []
        plugins = [plugins] if isinstance(plugins, str) else list(plugins)
        return super().instantiate_trainer(
            plugins=[AtomicCheckpointIO(), *plugins],
            use_distributed_sampler=False,  # the data module shards its own loaders
            **kwargs,
        )


def main(args: list[str] | None = None) -> int:
    """Exit code of a Lightning subcommand (fit, validate, test, predict): 0 done, 1 an error of ours, 2 bad usage."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of calls that Lightning makes
    # The encoder is fine-tuned without dropout, so in evaluation mode on purpose.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    if args == sys.argv[1:]:
        args = None  # LightningCLI warns of arguments given by keyword and on the command line
    try:
        RoutingCLI(
            RoutingModule,
            RoutingDataModule,
            args=args,
            parser_class=Parser,
            seed_everything_default=0,
            save_config_callback=LoggedConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
        )
    except RouterError as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 1
    return 0
