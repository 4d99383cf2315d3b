import struct
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.charts.png import encode_png
from aiopt.charts.theme import theme
from aiopt.testing.pictures import decode_png

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 40),
    runs=st.lists(
        st.tuples(st.integers(0, 255), st.sampled_from([1, 2, 3, 4, 257, 258, 259, 260, 517, 3000])),
        min_size=1,
        max_size=30,
    ),
)
def test_every_pixel_comes_back(width: int, runs: list[tuple[int, int]]) -> None:
    flat = np.concatenate([np.full(length, value, np.uint8) for value, length in runs])
    image = np.resize(flat, (-(-flat.size // width), width))
    indices, colours = decode_png(encode_png(image, GREYS))
    np.testing.assert_array_equal(indices, image)
    np.testing.assert_array_equal(colours, GREYS)


def test_noise_comes_back_and_grows_by_little() -> None:
    image = np.random.default_rng(3).integers(0, 256, (300, 233), np.uint8)
    png = encode_png(image, GREYS)
    np.testing.assert_array_equal(decode_png(png)[0], image)
    assert len(png) < 1.01 * image.size + GREYS.size + 100


def test_a_chart_is_a_small_file() -> None:
    """Lines and areas on a ground: what the filter and the search for runs are there for."""
    image = np.zeros((800, 1200), np.uint8)
    image[100:700:60] = 1
    image[200:600, 20:1180:7] = 2
    assert len(encode_png(image, GREYS)) < image.size / 100


def test_png_has_the_pixels_and_the_palette() -> None:
    rng = np.random.default_rng(1)
    palette = theme("dark").palette
    image = rng.integers(0, len(palette), (37, 53)).astype(np.uint8)
    image[5:30, 10:40] = 3
    indices, colours = decode_png(encode_png(image, palette))
    np.testing.assert_array_equal(indices, image)
    np.testing.assert_array_equal(colours, palette)


def test_png_chunks_are_in_order_with_their_checksums() -> None:
    png = encode_png(np.zeros((4, 6), np.uint8), theme("light").palette)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, names = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body = png[at + 4 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(body)
        names.append(body[:4])
        at += 12 + length
    assert names == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", png[16:29]) == (6, 4, 8, 3, 0, 0, 0)
