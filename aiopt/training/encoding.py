"""Records to what a model reads: rendered by its own chat template, masked to the answer, packed.

Owns tokens, labels and pixels.  Knows nothing of optimizers or workers.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from aiopt.errors import ConfigError, DataError
from aiopt.files import MIB
from aiopt.serving.checkpoint.geometry import check_picture
from aiopt.training.augmentation import augmented
from aiopt.training.base import Base
from aiopt.training.picture_memory import PictureMemory
from aiopt.training.records import Record, png_size
from aiopt.training.training_config import TrainingConfig

IGNORED = -100
"""Label of what is not trained on."""

CACHE_BYTES = 1024 * MIB
"""Of pictures kept; a chart of the tiny checkpoint takes 0.14 MiB."""

CACHED_TEXTS = 4096


@dataclass(frozen=True)
class Encoded:
    """One record.

    Attributes
    ----------
    tokens, labels : tensor of shape (n_tokens,), int64
        Up to the end of the answer; labels are `IGNORED` before it.
    pixels : tensor of shape (3, patch, n) or None
        Patches side by side.
    sizes : tensor of shape (n_slices, 2) or None
        Rows and columns of patches of each slice.
    """

    tokens: torch.Tensor
    labels: torch.Tensor
    pixels: torch.Tensor | None
    sizes: torch.Tensor | None

    @property
    def answer_tokens(self) -> int:
        """Tokens trained on."""
        return int((self.labels != IGNORED).sum())


@dataclass(frozen=True)
class _Text:
    """Tokens and labels of a record, see `Encoded`."""

    tokens: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Records of one forward pass, padded on the right.

    Attributes
    ----------
    inputs : dict
        Arguments of the model.
    labels : tensor of shape (n_records, n_tokens), int64
        `IGNORED` where nothing is to be said.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor

    @property
    def tokens(self) -> int:
        """Tokens read, padding not counted."""
        return int(self.inputs["attention_mask"].sum())

    @property
    def answer_tokens(self) -> int:
        """Tokens trained on."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch({name: part.to(device) for name, part in self.inputs.items()}, self.labels.to(device))


class Encoder:
    """Encodes records for one base and configuration.

    Parameters
    ----------
    base : Base
        Its template, tokenizer, processor and geometry.
    config : TrainingConfig
        Template variables, longest record, augmentation.
    """

    def __init__(self, base: Base, config: TrainingConfig) -> None:
        self._base = base
        self._config = config
        self._texts: OrderedDict[tuple[tuple[int, int] | None, str], _Text] = OrderedDict()
        self._pictures = PictureMemory(CACHE_BYTES)

    def encode(self, record: Record, *, key: tuple[int, ...] | None = None) -> Encoded:
        """Encode a record; with a key, its picture is augmented.

        Raises
        ------
        DataError
            If the record is too long, its picture cannot be read or has a size the base does not know.
        ConfigError
            If template and tokenizer do not fit each other.
        """
        if self._base.geometry is None or record.png is None:
            text = self._text(record, None)
            return Encoded(text.tokens, text.labels, None, None)
        size = png_size(record.png, where=record.where)
        if not self._config.image.adapt:
            check_picture(self._base.geometry, *size, where=record.where)
        text = self._text(record, size)
        pixels, sizes = self._pixels(record, key)
        return Encoded(text.tokens, text.labels, pixels, sizes)

    def prompt(self, record: Record) -> Encoded:
        """Return everything before the answer of a record."""
        encoded = self.encode(record)
        start = int((encoded.labels != IGNORED).nonzero()[0])
        return Encoded(encoded.tokens[:start], encoded.labels[:start], encoded.pixels, encoded.sizes)

    def prompt_inputs(self, record: Record) -> dict[str, torch.Tensor]:
        """Return what a model is given to answer a record by itself."""
        encoded = self.prompt(record)
        inputs = {"input_ids": encoded.tokens[None]}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if encoded.pixels is not None and encoded.sizes is not None:
            inputs |= {"pixel_values": encoded.pixels[None], "target_sizes": encoded.sizes}
        return inputs

    def _text(self, record: Record, size: tuple[int, int] | None) -> _Text:
        """Return the tokens of a record; questions and answers come again and again, so they are kept."""
        name = (size, str(record.messages))
        found = self._texts.get(name)
        if found is None:
            found = self._texts[name] = self._tokenized(record, size)
            if len(self._texts) > CACHED_TEXTS:
                self._texts.popitem(last=False)
        return found

    def _tokenized(self, record: Record, size: tuple[int, int] | None) -> _Text:
        prompt, whole = self.render(record)
        tail = self._tail(record, prompt, whole)
        if size is None:
            tokens = self._base.tokenizer(whole, add_special_tokens=False)["input_ids"]
        else:
            # How many tokens a picture takes follows from its size alone.
            stand_in = Image.new("RGB", size)
            found = self._base.processor(images=[stand_in], text=[whole], return_tensors="pt")
            tokens = found["input_ids"][0].tolist()
        answer = next(place for place, token in enumerate(tail) if token in self._base.eos) + 1
        start = len(tokens) - len(tail)
        if tokens[start:] != tail:
            raise ConfigError(
                f"{record.where}: the answer must have the same tokens with and without the picture, but has "
                "not. "
                "The processor and the tokenizer of the checkpoint do not belong together."
            )
        tokens = tokens[: start + answer]
        if len(tokens) > self._config.max_tokens:
            raise DataError(
                f"{record.where}: a record may have max_tokens={self._config.max_tokens} tokens, but this "
                "one has "
                f"{len(tokens)}. Raise max_tokens, ask in fewer words, or show smaller pictures."
            )
        labels = [IGNORED] * start + tokens[start:]
        return _Text(torch.tensor(tokens), torch.tensor(labels))

    def _pixels(self, record: Record, key: tuple[int, ...] | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return patches of a record's picture and their sizes; of one that is not augmented from memory."""
        if key is not None and self._config.augment.active:
            return self._processed(self._picture(record, key))
        assert record.png is not None
        return self._pictures.of(record.png, lambda: self._processed(self._picture(record, None)))

    def _processed(self, picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._base.processor.image_processor(images=[picture], return_tensors="pt")
        return found["pixel_values"][0], found["target_sizes"]

    def render(self, record: Record) -> tuple[str, str]:
        """Return the text before the answer, as service renders it, and the whole conversation.

        Raises
        ------
        ConfigError
            If the first is not the beginning of the second: then training would teach another prompt.
        """
        images = self._base.geometry is not None
        messages = record.messages if images else [_as_text(message) for message in record.messages]
        template = (
            self._base.processor
            if getattr(self._base.processor, "chat_template", None)
            else self._base.tokenizer
        )
        given = self._config.template
        prompt = template.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True, **given
        )
        whole = template.apply_chat_template(messages, tokenize=False, add_generation_prompt=False, **given)
        if not whole.startswith(prompt):
            raise ConfigError(
                "The chat template must render a question as the beginning of question and answer, but it "
                "ends the "
                f"question with {prompt[-60:]!r} and goes on to the answer with "
                f"{whole[len(prompt) - 60 :][:120]!r}. Set its variables under `template`, e.g. "
                "enable_thinking: false."
            )
        return prompt, whole

    def _tail(self, record: Record, prompt: str, whole: str) -> list[int]:
        """Return the tokens from the answer on; they must not depend on where the prompt was cut."""
        tokenizer = self._base.tokenizer
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        both = tokenizer(whole, add_special_tokens=False)["input_ids"]
        tail = list(both[len(before) :])
        if both[: len(before)] != before:
            raise ConfigError(
                f"{record.where}: the tokens of the question must not change when the answer follows, but "
                "they do "
                "at the seam. The template must end a question with a special token or a line break."
            )
        unknown = tokenizer.unk_token_id
        if unknown is not None and unknown in tail:
            raise ConfigError(
                f"{record.where}: the tokenizer must know every character of an answer, but writes {unknown} "
                f"({tokenizer.unk_token!r}) in {record.answer[:60]!r}. It is of another family than the "
                "model."
            )
        if not self._base.eos.intersection(tail):
            raise ConfigError(
                f"{self._base.folder}: an answer must end with a token at which engines stop "
                f"({sorted(self._base.eos)}), but the chat template ends it with {whole[-30:]!r}, which is "
                f"{tail[-5:]}. Template, tokenizer and generation settings are of different families; fetch "
                "them "
                "again from one checkpoint."
            )
        return tail

    def _picture(self, record: Record, key: tuple[int, ...] | None) -> Image.Image:
        assert record.png is not None
        assert self._base.geometry is not None
        try:
            picture = Image.open(io.BytesIO(record.png)).convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError) as failure:
            msg = f"{record.where}: the picture cannot be read: {failure}. Build the dataset again."
            raise DataError(msg) from failure
        if key is None or not self._config.augment.active:
            return picture
        return Image.fromarray(augmented(np.asarray(picture), self._config.augment, key))


def collate(records: Sequence[Encoded], *, padding: int) -> Batch:
    """Put records into one batch.

    Tokens are padded on the right, where a causal model does not see them; pixels of all records lie side by
    side.

    Parameters
    ----------
    records : sequence of Encoded
        At least one.
    padding : int
        Token that fills up; nobody reads it.
    """
    longest = max(record.tokens.numel() for record in records)
    tokens = torch.full((len(records), longest), padding)
    labels = torch.full((len(records), longest), IGNORED)
    mask = torch.zeros((len(records), longest), dtype=torch.int64)
    for row, record in enumerate(records):
        count = record.tokens.numel()
        tokens[row, :count], labels[row, :count], mask[row, :count] = record.tokens, record.labels, 1
    inputs = {"input_ids": tokens, "attention_mask": mask}
    pixels = [record.pixels for record in records if record.pixels is not None]
    sizes = [record.sizes for record in records if record.sizes is not None]
    if pixels:
        inputs |= {"pixel_values": torch.cat(pixels, dim=-1)[None], "target_sizes": torch.cat(sizes)}
    return Batch(inputs, labels)


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message for a template that takes text alone."""
    return {
        "role": message["role"],
        "content": "".join(part.get("text") or "" for part in message["content"]),
    }
