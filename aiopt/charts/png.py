"""PNG files of palette images.  Owns the encoder; knows nothing of charts.

Rows are filtered against the row above, which leaves runs of zeros, and zlib looks for runs alone
(`Z_RLE`): its fastest way with charts.  `python -m benchmarks charts` measures what its usual level 6 would
save in bytes and cost in time.  The pixels depend on the image alone; the compressed bytes also on which zlib
Python was built with (zlib, zlib-ng, zlib-rs).
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP_FILTER = 2


def encode_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    r"""Return an 8-bit palette PNG.

    Parameters
    ----------
    indices : ndarray of shape (height, width), uint8
        Palette index of each pixel, row 0 on top.
    palette : ndarray of shape (n_colours, 3), uint8
        Red, green, blue; at most 256 colours, more than any index.

    Returns
    -------
    bytes
        Same bytes for the same arrays in one Python installation, same pixels in all.

    Examples
    --------
    >>> encode_png(np.zeros((2, 3), np.uint8), np.zeros((1, 3), np.uint8))[:4]
    b'\x89PNG'
    """
    height, width = indices.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = _UP_FILTER
    rows[0, 1:] = indices[0]
    np.subtract(indices[1:], indices[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    stream = packer.compress(rows.data) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", stream), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
