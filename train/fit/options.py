"""Options of `RoutingModule`, typed and checked: the section `model` of a configuration."""

from typing import Annotated, Self

from pydantic import model_validator

from train.data.options import Bounds, Count, EncoderOptions, Share, Weight, Whole

MOST_PROTOTYPES = 2000  # the checkpoint keeps aggregates, never queries


class ModelOptions(EncoderOptions):
    """Options of network, losses and optimizer.

    Args:
        hidden: width of the heads' shared layer.
        residual: size of the latent residual, 0 for none.
        prototypes: how many means of training queries are kept, at most 2000. With them profiles are fitted anew at the
            end of `fit` (`train.export.profiles`); 0: none, and profiles stay as the gradient made them.
        likeness: coordinates that nearness to the prototypes is reduced to.
        dropout: on the heads' shared layer.
        embedding_noise: standard deviation of the noise added to embeddings in training (EmbedLLM); each pooled layer
            keeps its length.
        label_weight: weight of the capability and knowledge loss.
        level_weight: weight of the loss of difficulty against its annotation on the scale 1 to 5.
        deviation_weight: weight of the squared logits by which difficulty under a protocol leaves the shared scale.
        outcome_weight: weight of the outcome loss.
        length_weight: weight of the answer-length loss.
        category_weight: weight of predicting each training row's benchmark and category from the heads' shared layer.
            It shapes that layer, and the prediction stands beside the prototypes, which it needs.
        decision_weight: weight of the ranking term.
        consistency_weight: weight of the squared difference between the query vectors of a row read otherwise
            (`data.variants`, `data.composed`) and of the row itself, which is embedded for it.
        temperature: of the soft choice in the ranking term, in quality.
        label_only_epochs: epochs at the start in which outcomes do not count, so that the axes mean what they say
            before profiles are fitted on them.
        balance: 0 weighs every query alike, 1 every protocol.
        encoder_lr: learning rate of the encoder.
        freeze_layers: how many of the encoder's first layers are not trained, and with them its embeddings; 0: all is.
    """

    hidden: Count = 384
    residual: Whole = 0
    prototypes: Annotated[int, Bounds(0, MOST_PROTOTYPES)] = 0
    likeness: Count = 64
    dropout: Share = 0.1
    embedding_noise: Weight = 0.0
    label_weight: Weight = 0.3
    level_weight: Weight = 0.3
    deviation_weight: Weight = 0.01
    outcome_weight: Weight = 1.0
    length_weight: Weight = 0.1
    category_weight: Weight = 0.0
    decision_weight: Weight = 0.0
    consistency_weight: Weight = 0.0
    temperature: Annotated[float, Bounds(1e-6)] = 0.1
    label_only_epochs: Whole = 0
    balance: float = 0.5
    encoder_lr: Weight = 5e-5
    freeze_layers: Whole = 0

    @model_validator(mode="after")
    def _categories_stand_beside_prototypes(self) -> Self:
        if self.category_weight and not self.prototypes:
            raise ValueError("category_weight needs prototypes: only they use what is learned of categories")
        return self
