"""The architectures that can be served and what each needs: a closed table.

Owns names and layout rules of MiniCPM checkpoints as transformers 5.19 and vLLM 0.32 read them.  Imports
neither.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Modality = Literal["images", "text"]

_VISION_46 = ("model.vision_tower.", "model.vit_merger.", "model.merger.", "model.vpm.", "vpm.", "resampler.")


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint of one architecture must bring.

    Attributes
    ----------
    name : str
        As in ``config.json``, ``architectures``.
    modality : {"images", "text"}
        ``"images"``: reads images and text.
    remote_code : bool
        Whether configuration and tokenizer are Python files of the checkpoint, which vLLM runs.
    text_config : str
        Key of ``config.json`` with the language model's sizes; empty where they stand at the top.
    vision_prefixes : tuple of str
        Names of vision tensors start with one of these.
    checkpoint : str
        A published checkpoint, for messages.
    """

    name: str
    modality: Modality
    remote_code: bool
    text_config: str = ""
    vision_prefixes: tuple[str, ...] = ()
    checkpoint: str


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture(
            name="MiniCPMV4_6ForConditionalGeneration",
            modality="images",
            remote_code=False,
            text_config="text_config",
            vision_prefixes=_VISION_46,
            checkpoint="openbmb/MiniCPM-V-4.6",
        ),
        Architecture(
            name="MiniCPMV4_7ForConditionalGeneration",
            modality="images",
            remote_code=False,
            text_config="text_config",
            vision_prefixes=_VISION_46,
            checkpoint="openbmb/MiniCPM-V-4.7",
        ),
        Architecture(
            name="MiniCPM3ForCausalLM",
            modality="text",
            remote_code=False,
            checkpoint="openbmb/MiniCPM3-4B",
        ),
        Architecture(
            name="MiniCPMForCausalLM",
            modality="text",
            remote_code=True,
            checkpoint="openbmb/MiniCPM4.1-8B",
        ),
        Architecture(
            name="MiniCPMV",
            modality="images",
            remote_code=True,
            vision_prefixes=("vpm.", "resampler."),
            checkpoint="openbmb/MiniCPM-V-4_5",
        ),
    )
}
