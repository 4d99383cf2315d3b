"""Picture files: whole ones come out as a viewer shows them, all others are refused."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from aiopt.charts.png import encode_png
from aiopt.serving.pictures import DamagedPictureError, decode_picture, picture_kind, picture_size
from aiopt.serving.pictures.jpeg_file import whole_jpeg
from tests.unit.serving.made_pictures import (
    DAMAGED_JPEGS,
    PNG_START,
    SAMPLE,
    bad_filter,
    chunk,
    entropy,
    gradient,
    png_of,
    saved,
    segment,
    shown,
)

# Whole files ------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "own tables": {"optimize": True},
    "4:4:4": {"subsampling": 0, "quality": 100},
    "4:2:2 progressive": {"subsampling": 1, "progressive": True},
    "4:2:0 coarse": {"subsampling": 2, "quality": 5},
    "restarts": {"restart_marker_blocks": 3},
    "restarts, progressive": {"restart_marker_rows": 1, "progressive": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (17, 33), (64, 48)])
def test_every_kind_of_jpeg_is_what_pillow_shows(kind: str, mode: str, size: tuple[int, int]) -> None:
    data = saved(Image.fromarray(gradient(*size)).convert(mode), **KINDS[kind])
    assert (picture_kind(data), picture_size(data)) == ("jpeg", size)
    assert np.array_equal(shown(decode_picture(data)), shown(data))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    noise=st.integers(0, 2**32 - 1),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
)
def test_a_jpeg_of_anything_is_whole(
    width: int, height: int, noise: int, quality: int, subsampling: int, progressive: bool
) -> None:
    pixels = np.random.default_rng(noise).integers(0, 256, (height, width, 3)).astype(np.uint8)
    data = saved(pixels, quality=quality, subsampling=subsampling, progressive=progressive)
    assert np.array_equal(shown(decode_picture(data)), shown(data))


def test_a_jpeg_is_read_without_its_metadata_and_what_follows_it() -> None:
    extra = b"\xff\xe2\0\x06ICC_" + b"\xff\xfe\0\x05abc" + b"\xff\xff\xff"
    data = SAMPLE[:2] + extra + SAMPLE[3:] + b"a second picture behind the end mark"
    bare, orientation = whole_jpeg(data)
    assert orientation == 1
    assert b"ICC_" not in bare
    assert np.array_equal(shown(decode_picture(data)), shown(SAMPLE))


def exif(orientation: int) -> bytes:
    image = Image.new("RGB", (1, 1))
    found = image.getexif()
    found[0x0112] = orientation
    return found.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_a_viewer_turns_it(orientation: int) -> None:
    pixels = Image.fromarray(gradient(20, 9))
    for style, options in (("JPEG", {"quality": 95}), ("PNG", {})):
        data = saved(pixels, style, exif=exif(orientation), **options)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert np.array_equal(shown(decode_picture(data)), np.asarray(upright.convert("RGB"))), style


def test_metadata_that_is_damaged_is_no_reason_to_refuse() -> None:
    for block in (
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20),
    ):
        part = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        assert np.array_equal(shown(decode_picture(SAMPLE[:2] + part + SAMPLE[2:])), shown(SAMPLE))


MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 17), (64, 48)])
def test_every_mode_of_png(mode: str, size: tuple[int, int]) -> None:
    if mode == "I;16":
        values = (np.arange(size[0] * size[1]) * 97 % 65_536).astype(np.uint16).reshape(size[1], size[0])
        data = saved(values, "PNG")
        expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    else:
        image = Image.fromarray(gradient(*size)).convert(mode)
        data = saved(image, "PNG")
        white = Image.new("RGBA", size, (255, 255, 255, 255))
        expected = np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    assert np.array_equal(shown(decode_picture(data)), expected)


def test_a_16_bit_ramp_looks_like_its_8_bit_twin() -> None:
    """Read as it stands by engines, every value above 255 is white."""
    ramp = np.arange(0, 65_536, 256, dtype=np.uint16).reshape(16, 16)
    grey = decode_picture(saved(ramp, "PNG"))
    assert np.array_equal(shown(grey), shown(decode_picture(saved((ramp >> 8).astype(np.uint8), "PNG"))))
    wide = np.stack([ramp, ramp[::-1], ramp.T], axis=2).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    colour = decode_picture(png_of(zlib.compress(rows), width=16, height=16, depth=16, colour=2))
    assert np.array_equal(shown(colour), (wide >> 8).astype(np.uint8))


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    assert shown(decode_picture(saved(rgba, "PNG")))[0, :, 0].tolist() == [255, 127, 0]
    for depth, value, seen in ((1, 1, 255), (2, 1, 85), (4, 5, 85), (8, 200, 200)):
        bits = value << (8 - depth)
        stream = zlib.compress(bytes((0, bits)))
        plain = png_of(stream, width=1, height=1, depth=depth)
        assert shown(decode_picture(plain))[0, 0, 0] == seen
        clear = png_of(
            stream, width=1, height=1, depth=depth, before=chunk(b"tRNS", struct.pack(">H", value))
        )
        assert shown(decode_picture(clear))[0, 0].tolist() == [255, 255, 255]
    palette = chunk(b"PLTE", bytes((10, 20, 30, 40, 50, 60))) + chunk(b"tRNS", b"\0")
    data = png_of(zlib.compress(b"\0\0\1"), width=2, height=1, colour=3, before=palette)
    assert shown(decode_picture(data)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


# First column and row of each pass, and the steps to the next.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def test_our_own_charts_and_interlaced_files_are_read() -> None:
    rng = np.random.default_rng(1)
    chart = encode_png(rng.integers(0, 4, (120, 90), np.uint8), rng.integers(0, 256, (4, 3), np.uint8))
    assert np.array_equal(shown(decode_picture(chart)), shown(chart))
    for width, height in ((1, 1), (2, 1), (5, 3), (8, 8), (9, 9)):
        passes = [
            (len(range(top, height, down)), len(range(left, width, across)))
            for left, top, across, down in ADAM7
        ]
        size = sum(rows * (columns + 1) for rows, columns in passes if rows and columns)
        whole = png_of(zlib.compress(bytes(size)), width=width, height=height, interlaced=1)
        assert shown(decode_picture(whole)).shape == (height, width, 3)
        for wrong in (size - 1, size + 1):
            short = png_of(zlib.compress(bytes(wrong)), width=width, height=height, interlaced=1)
            with pytest.raises(DamagedPictureError, match=f"bytes of pixels where {width} x {height}"):
                decode_picture(short)


# Damaged files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DAMAGED_JPEGS)
def test_a_damaged_jpeg_is_refused(name: str) -> None:
    with pytest.raises(DamagedPictureError, match=r"must be whole, but .*\. Save"):
        decode_picture(DAMAGED_JPEGS[name]())


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_refused_with_and_without_an_end_mark(progressive: bool) -> None:
    data = saved(gradient(40, 24), progressive=progressive)
    for at in range(3, len(data) - 2, 7):
        for end in (b"", b"\xff\xd9"):
            with pytest.raises(DamagedPictureError):
                decode_picture(data[:at] + end)


def complaints(data: bytes) -> bytes:
    """Return what libjpeg itself says of a file while OpenCV decodes it, on the error channel."""
    cv2 = pytest.importorskip("cv2")
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        return said.read() or (b"not decoded" if decoded is None else b"")


@pytest.mark.parametrize("progressive", [False, True])
def test_whatever_libjpeg_would_fill_is_refused(progressive: bool) -> None:
    """A second decoder as oracle: it warns and fills, and most programs never show its warning."""
    noise = np.random.default_rng(3)
    data = saved(gradient(96, 64), quality=70, progressive=progressive)
    start = segment(data, 0xDA)[1]
    filled = 0
    for _ in range(150):
        at = int(noise.integers(start, len(data) - 2))
        changed = data[:at] + bytes((data[at] ^ 1 << int(noise.integers(8)),)) + data[at + 1 :]
        if complaints(changed):
            filled += 1
            with pytest.raises(DamagedPictureError):
                decode_picture(changed)
    assert filled > 10
    assert complaints(data) == b""


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_file_is_decoded_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(FILES))
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(3, len(whole) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(changed[: data.draw(st.integers(4, len(whole)))])
    try:
        if picture_kind(kept) is None or max(picture_size(kept)) > 2000 or min(picture_size(kept)) < 1:
            return
        decoded = decode_picture(kept)
    except DamagedPictureError:
        return
    assert shown(decoded).ndim == 3


FILES = [
    SAMPLE,
    saved(gradient(20, 30), progressive=True),
    saved(gradient(20, 30), "PNG"),
    saved(Image.fromarray(gradient(20, 30)).convert("P"), "PNG"),
]

PNG_FAULTS: dict[str, tuple[bytes, str]] = {
    "a filter that is none": (bad_filter(), "a filter that PNG does not have"),
    "no stream": (png_of(bytes(20)), "cannot be inflated"),
    "cut": (png_of(zlib.compress(bytes(15))[:-6]), "bytes of pixels where 4 x 3 take 15"),
    "one byte too many": (png_of(zlib.compress(bytes(16))), "bytes of pixels where 4 x 3 take 15"),
    "a bomb": (png_of(zlib.compress(bytes(50_000_000))), "bytes of pixels where 4 x 3 take 15"),
    "no such colour type": (png_of(zlib.compress(bytes(15)), colour=5), "its colour type is 5"),
    "no such depth": (png_of(zlib.compress(bytes(15)), depth=3), "has 3 bits per value"),
    "a colour beyond the palette": (
        png_of(zlib.compress(b"\0\0\7"), width=2, height=1, colour=3, before=chunk(b"PLTE", bytes(6))),
        "names colour 7 of a palette of 2",
    ),
    "no palette": (
        PNG_START
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(2)))
        + chunk(b"IEND", b""),
        "palette is missing",
    ),
    "animated": (png_of(zlib.compress(bytes(15)), before=chunk(b"acTL", bytes(8))), "animated"),
    "an unknown chunk": (
        png_of(zlib.compress(bytes(15)), before=chunk(b"ABCD", b"")),
        "needs chunk",
    ),
    "16 bits with a transparent colour": (
        png_of(
            zlib.compress(bytes(7)), width=1, height=1, depth=16, colour=2, before=chunk(b"tRNS", bytes(6))
        ),
        "16 bits per value and a transparent colour",
    ),
    "pixels in two pieces": (
        png_of(zlib.compress(bytes(15)), pieces=1).replace(
            chunk(b"IEND", b""), chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
        ),
        "not in one piece",
    ),
}


@pytest.mark.parametrize("name", PNG_FAULTS)
def test_a_damaged_png_is_refused(name: str) -> None:
    data, message = PNG_FAULTS[name]
    with pytest.raises(DamagedPictureError, match=message):
        decode_picture(data)


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_whole_pixels_pass_however_they_are_cut(pieces: int) -> None:
    rows = b"".join(bytes((filter_,)) + bytes(4) for filter_ in range(3))
    assert shown(decode_picture(png_of(zlib.compress(rows), pieces=pieces))).shape == (3, 4, 3)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)])
def test_every_colour_type_has_its_length(colour: int, channels: int) -> None:
    whole = bytes(3 * (1 + 4 * channels))
    decode_picture(png_of(zlib.compress(whole), colour=colour))
    with pytest.raises(
        DamagedPictureError, match=f"holds {len(whole) - 1} bytes of pixels where 4 x 3 take {len(whole)}"
    ):
        decode_picture(png_of(zlib.compress(whole[:-1]), colour=colour))


def test_bytes_before_the_end_mark_that_no_block_needs_are_damage() -> None:
    start, end = entropy(SAMPLE)
    with pytest.raises(DamagedPictureError, match="bytes are left over"):
        decode_picture(SAMPLE[:end] + bytes(9) + SAMPLE[end:])
    assert start < end
