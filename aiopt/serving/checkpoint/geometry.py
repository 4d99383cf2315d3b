"""How a checkpoint sees pictures: the geometry it was trained with, kept in its files and held to.

Owns reading and writing of the image processor's geometry and the file `GEOMETRY_FILE` beside it, which also
says the sizes of the pictures a checkpoint was trained on.  A model trained at one resolution reads charts at
another by chance only, so geometry is never given per call: it is what the folder says, in training and in
service.  Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from aiopt.config import decode
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.tokenizer_files import read_json_object
from aiopt.serving.checkpoint.weights import CheckpointError

GEOMETRY_FILE = "aiopt_geometry.json"
"""Written by training: geometry and picture sizes the weights were trained with."""

_STILL, _MOVING, _BOTH = "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"
_KEYS = ("scale_resolution", "slice_mode", "max_slice_nums", "downsample_mode", "patch_size")


class ImageGeometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a picture before the model sees it.  Defaults are transformers' for MiniCPM-V 4.6.

    Attributes
    ----------
    scale_resolution : int
        Pixels: pictures are brought to about this many squared.
    slice_mode : bool
        Whether large pictures are also shown in slices.
    max_slice_nums : int
        Slices at most.
    downsample_mode : {"16x", "4x"}
        Patches per image token.
    patch_size : int
        Pixels.
    picture_sizes : tuple of (int, int)
        Width and height, in pixels, of the pictures it was trained on; empty where unknown.
    """

    scale_resolution: int = 448
    slice_mode: bool = True
    max_slice_nums: int = 9
    downsample_mode: Literal["16x", "4x"] = "16x"
    patch_size: int = 14
    picture_sizes: tuple[tuple[int, int], ...] = ()

    def describe(self) -> str:
        """Return the geometry in words, for messages."""
        slices = f"slices up to {self.max_slice_nums}" if self.slice_mode else "no slices"
        return f"scale_resolution {self.scale_resolution}, {slices}, downsampling {self.downsample_mode}"


def read_geometry(folder: Path) -> ImageGeometry:
    """Read the geometry of a checkpoint that reads images.

    Raises
    ------
    CheckpointError
        If its image processor is absent, a value is of the wrong kind, or `GEOMETRY_FILE` says otherwise.
    """
    settings = _still_settings(folder)
    if settings is None:
        raise CheckpointError(
            f"{folder}: a checkpoint that reads pictures must bring {_STILL}, or {_BOTH} with "
            "image_processor, but does not. Fetch these files again."
        )
    given = {key: settings[key] for key in _KEYS if settings.get(key) is not None}
    found = decode(given, ImageGeometry, where=f"{folder}: the image processor", error=CheckpointError)
    trained = trained_geometry(folder)
    if trained is None:
        return found
    if msgspec.structs.replace(trained, picture_sizes=()) != found:
        raise CheckpointError(
            f"{folder}: a checkpoint must see pictures as it was trained to, but its image processor says "
            f"{found.describe()}, and {GEOMETRY_FILE}, written by its training, {trained.describe()}. Its "
            "answers would be no better than chance. Put the trained values back, or train it at the others."
        )
    return trained


def trained_geometry(folder: Path) -> ImageGeometry | None:
    """Return what `GEOMETRY_FILE` says; None where there is none.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    path = Path(folder) / GEOMETRY_FILE
    if not path.is_file():
        return None
    return decode(read_json_object(path), ImageGeometry, where=str(path), error=CheckpointError)


def check_geometry(folder: Path) -> None:
    """Hold a checkpoint to the geometry it was trained with; one that aiopt did not train passes.

    Raises
    ------
    CheckpointError
        If its image processor says otherwise.
    """
    if (Path(folder) / GEOMETRY_FILE).is_file():
        read_geometry(folder)


def write_geometry(folder: Path, geometry: ImageGeometry) -> None:
    """Write a geometry into every file of a checkpoint that holds one, and `GEOMETRY_FILE` beside them.

    Raises
    ------
    CheckpointError
        If the checkpoint has no image processor.
    StorageError
        If the disk is full.
    """
    if _still_settings(folder) is None:
        raise CheckpointError(f"{folder}: there is no image processor to write a geometry into.")
    values = {key: getattr(geometry, key) for key in _KEYS}
    for name in (_STILL, _MOVING, _BOTH):
        path = Path(folder) / name
        if not path.is_file():
            continue
        document = read_json_object(path)
        if name != _BOTH:
            document |= values
        for key in ("image_processor", "video_processor"):
            if isinstance(document.get(key), dict):
                document[key] |= values
        atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    text = msgspec.json.format(msgspec.json.encode(geometry))
    atomic_write_bytes(Path(folder) / GEOMETRY_FILE, text + b"\n")


def check_picture(geometry: ImageGeometry, width: int, height: int, *, where: str) -> None:
    """Refuse a picture of another size than those the checkpoint was trained on, where these are known.

    Parameters
    ----------
    geometry : ImageGeometry
        Of the checkpoint.
    width, height : int
        Pixels.
    where : str
        The picture, for the message.

    Raises
    ------
    DataError
        Names both sizes.
    """
    if geometry.picture_sizes and (width, height) not in geometry.picture_sizes:
        known = ", ".join(f"{w}×{h}" for w, h in geometry.picture_sizes)
        raise DataError(
            f"{where}: pictures must be of a size the checkpoint was trained on, {known}, but this one is "
            f"{width}×{height}. Draw the charts at that size, or set image.adapt: true to train it on this "
            "one too."
        )


def _still_settings(folder: Path) -> Mapping[str, Any] | None:
    """Return the settings of still pictures; of two files the one transformers prefers."""
    both = Path(folder) / _BOTH
    if both.is_file():
        inner = read_json_object(both).get("image_processor")
        if isinstance(inner, dict):
            return inner
    still = Path(folder) / _STILL
    return read_json_object(still) if still.is_file() else None
