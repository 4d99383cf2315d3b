"""Pictures as a model sees them, kept for the next time: a training asks many questions of one chart.

Owns the memory and how a picture is packed in it: a byte per value where the processor made at most 256
different values of a byte's 256, which is exact, else as they are.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import torch

_LEVELS = 256

Seen = tuple[torch.Tensor, torch.Tensor]


class PictureMemory:
    """Patches of pictures by the hash of their PNG; the least used goes first.

    Parameters
    ----------
    most_bytes : int
        Of all that is kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, tuple[torch.Tensor, bool, torch.Tensor]] = OrderedDict()
        self._table = torch.full((_LEVELS,), float("nan"))

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def of(self, png: bytes, see: Callable[[], Seen]) -> Seen:
        """Return patches and sizes of a picture; `see` makes them where they are not kept."""
        name = hashlib.sha256(png).digest()
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            packed, in_bytes, sizes = kept
            return (self._table[packed.int()] if in_bytes else packed), sizes
        pixels, sizes = see()
        packed, in_bytes = self._packed(pixels)
        self._kept[name] = packed, in_bytes, sizes
        self._bytes += packed.numel() * packed.element_size()
        while self._bytes > self._most and len(self._kept) > 1:
            oldest, _, _ = self._kept.popitem(last=False)[1]
            self._bytes -= oldest.numel() * oldest.element_size()
        return pixels, sizes

    def _packed(self, pixels: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """Return a picture in bytes, where the table of values gives back every bit of it."""
        if pixels.dtype != torch.float32:
            return pixels, False
        levels = ((pixels * 0.5 + 0.5) * (_LEVELS - 1)).round()
        if not bool(((levels >= 0) & (levels < _LEVELS)).all()):
            return pixels, False
        places = levels.to(torch.uint8)
        flat, values = places.flatten().long(), pixels.flatten()
        table = self._table.clone()
        new = torch.isnan(table[flat])
        table[flat[new]] = values[new]
        if not torch.equal(table[flat], values):
            return pixels, False
        self._table = table
        return places, True
