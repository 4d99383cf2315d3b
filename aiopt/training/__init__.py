"""Fine-tuning of a checkpoint on a dataset: records to inputs, the loop, its states, its result.

Owns everything of training that needs no Ray.  Torch, transformers and peft are imported by the modules that
compute, never by importing this package.
"""

from aiopt.training.training_config import (
    AugmentConfig,
    ImageConfig,
    LoraConfig,
    OptimizerConfig,
    ProbeConfig,
    StageConfig,
    TrainingConfig,
    load_training_config,
)

__all__ = [
    "TrainingConfig",
    "StageConfig",
    "OptimizerConfig",
    "LoraConfig",
    "ImageConfig",
    "ProbeConfig",
    "AugmentConfig",
    "load_training_config",
]
