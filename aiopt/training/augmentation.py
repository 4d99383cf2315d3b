"""Changes of a training picture that leave its answer true.

Owns exactly those that can be made from pixels alone: brightness turned round with hues kept, contrast,
noise. A mirrored chart or another window needs another answer and other axis labels, so those are the
dataset's to draw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiopt.training.training_config import AugmentConfig


def augmented(picture: NDArray[np.uint8], settings: AugmentConfig, key: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a changed copy of a picture; equal keys give equal changes.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
        RGB.
    settings : AugmentConfig
        What may change, and how far.
    key : tuple of int
        Seed, step and record: decide what is drawn.
    """
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    values: NDArray[np.floating] = picture.astype(np.float32)
    if draw.random() < settings.invert:
        # Turned round between lightest and darkest channel of each pixel: red stays red, green green.
        light = values.max(axis=2, keepdims=True) + values.min(axis=2, keepdims=True)
        values = values + 255.0 - light
    if settings.contrast:
        gain = 1 + draw.uniform(-settings.contrast, settings.contrast)
        shift = 127.5 * draw.uniform(-settings.contrast, settings.contrast)
        values = (values - 127.5) * gain + 127.5 + shift
    if settings.noise:
        values = values + draw.normal(0.0, draw.uniform(0, settings.noise), values.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
