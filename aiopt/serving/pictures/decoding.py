"""From a whole file to plain red, green and blue of 8 bits, and to a PNG of exactly that.

Owns every decision on the way, so that nothing behind it has one to make:

- 16 bits per value: the upper 8 count, in grey as in colour.
- Transparency (alpha, a transparent colour, transparent entries of a palette) is laid on white.
- The EXIF orientation is applied: a picture is seen as a viewer shows it.
- CMYK becomes RGB without a profile; colour profiles and gamma are left out.

Pillow undoes filters, interlacing and the cosine transform, and is given nothing but the parts of the file
that decide pixels.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin

from aiopt.serving.pictures import jpeg_file, png_file
from aiopt.serving.pictures.damage import DamagedPictureError
from aiopt.serving.pictures.orientation import upright

Rgb = NDArray[np.uint8]
"""Shape (height, width, 3)."""

_WHITE = 255
_FASTEST = 1
_SUB = 1
"""PNG's filter of differences to the left."""


def picture_kind(data: bytes) -> str | None:
    """Return ``"png"`` or ``"jpeg"`` by a file's first bytes, None for anything else."""
    if data.startswith(png_file.START):
        return "png"
    return "jpeg" if data.startswith(jpeg_file.START) else None


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height as the header says, before anything is decoded.

    Raises
    ------
    DamagedPictureError
        If there is no header.
    """
    return png_file.header_size(data) if picture_kind(data) == "png" else jpeg_file.frame_size(data)


def decode_picture(data: bytes) -> bytes:
    """Return a PNG of 8-bit RGB, without transparency or metadata, of what a whole file shows.

    Parameters
    ----------
    data : bytes
        PNG or JPEG file whose size is known to be acceptable.

    Raises
    ------
    DamagedPictureError
        If anything of it is missing, damaged or not read.
    """
    pixels = _png_pixels(data) if picture_kind(data) == "png" else _jpeg_pixels(data)
    return _encode(pixels)


def warm_decoders() -> None:
    """Load and compile what the first pictures would otherwise wait for."""
    for style in ("PNG", "JPEG"):
        for options in ({}, {"progressive": True}):
            target = io.BytesIO()
            Image.new("RGB", (16, 16)).save(target, style, **(options if style == "JPEG" else {}))
            decode_picture(target.getvalue())


def _encode(pixels: Rgb) -> bytes:
    """Return a PNG: each row as differences to the pixel on the left, compressed fast."""
    height, width, _ = pixels.shape
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = _SUB
    plain = np.ascontiguousarray(pixels).reshape(height, -1)
    rows[:, 1:4] = plain[:, :3]
    np.subtract(plain[:, 3:], plain[:, :-3], out=rows[:, 4:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, _FASTEST)), (b"IEND", b""))
    return png_file.START + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
        for name, body in chunks
    )


def _load(data: bytes, plugin: type[Image.Image], name: str) -> Image.Image:
    """Return a decoded picture; the plugin is called itself, so no other format is ever tried."""
    try:
        image = plugin(io.BytesIO(data))  # type: ignore[call-arg]
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as failure:
        raise DamagedPictureError(f"it cannot be decoded as {name} ({failure})") from failure
    return image


def _jpeg_pixels(data: bytes) -> Rgb:
    bare, orientation = jpeg_file.whole_jpeg(data)
    image = _load(bare, JpegImagePlugin.JpegImageFile, "JPEG")
    return upright(np.asarray(image.convert("RGB")), orientation)


def _png_pixels(data: bytes) -> Rgb:
    bare, header = png_file.whole_png(data)
    image = _load(bare, PngImagePlugin.PngImageFile, "PNG")
    # tRNS is read here: Pillow's reading of it differs from depth to depth.
    image.info.pop("transparency", None)
    match header.colour:
        case 3:
            pixels = _from_palette(np.asarray(image), header)
        case 4 | 6:
            pixels = _on_white(np.asarray(image.convert("RGBA")))
        case 2:
            pixels = _without(np.asarray(image.convert("RGB")), header)
        case _:
            pixels = _from_grey(np.asarray(image), header)
    return upright(pixels, header.orientation)


def _from_grey(values: NDArray[np.generic], header: png_file.PngHeader) -> Rgb:
    """Return grey values of 1 to 16 bits as RGB; Pillow gives 16 bits whole and the others scaled to 8."""
    clear: int | None = None
    if header.transparency is not None:
        clear = int.from_bytes(header.transparency, "big") & ((1 << header.depth) - 1)
    if header.depth == 16:
        wide = values.astype(np.uint16)
        grey = (wide >> 8).astype(np.uint8)
        hidden = wide == clear if clear is not None else None
    else:
        grey = values.astype(np.uint8) * np.uint8(_WHITE) if header.depth == 1 else values.astype(np.uint8)
        hidden = grey == clear * _WHITE // ((1 << header.depth) - 1) if clear is not None else None
    if hidden is not None:
        grey = np.where(hidden, np.uint8(_WHITE), grey)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _from_palette(indices: NDArray[np.generic], header: png_file.PngHeader) -> Rgb:
    colours = np.frombuffer(header.palette, np.uint8).reshape(-1, 3)
    if int(indices.max()) >= len(colours):
        raise DamagedPictureError(f"it names colour {indices.max()} of a palette of {len(colours)}")
    alpha = np.full((len(colours), 1), _WHITE, np.uint8)
    given = np.frombuffer(header.transparency or b"", np.uint8)
    alpha[: len(given), 0] = given
    shown = _on_white(np.concatenate((colours, alpha), axis=1)[None])[0]
    return np.asarray(shown[indices], np.uint8)


def _without(pixels: Rgb, header: png_file.PngHeader) -> Rgb:
    """Return RGB with its transparent colour white."""
    if header.transparency is None:
        return pixels
    if header.depth == 16:
        raise DamagedPictureError(
            "it has 16 bits per value and a transparent colour", "Save it with 8 bits per value."
        )
    clear = np.frombuffer(header.transparency, ">u2").astype(np.uint8)
    return np.where((pixels == clear).all(axis=2, keepdims=True), np.uint8(_WHITE), pixels)


def _on_white(pixels: NDArray[np.uint8]) -> Rgb:
    """Lay RGBA of shape (height, width, 4) on white."""
    alpha = pixels[:, :, 3:].astype(np.uint16)
    if (alpha == _WHITE).all():
        return pixels[:, :, :3]
    mixed = pixels[:, :, :3] * alpha + _WHITE * (_WHITE - alpha)
    return ((mixed + _WHITE // 2) // _WHITE).astype(np.uint8)
