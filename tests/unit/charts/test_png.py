import hashlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.charts.png import deflate_runs, encode_png
from aiopt.charts.theme import theme
from aiopt.testing.pictures import decode_png


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 255), st.sampled_from([1, 2, 3, 4, 257, 258, 259, 260, 261, 262, 517, 3000])
        ),
        min_size=1,
        max_size=60,
    )
)
def test_deflate_is_undone_by_zlib(runs: list[tuple[int, int]]) -> None:
    data = np.concatenate([np.full(length, value, np.uint8) for value, length in runs])
    assert zlib.decompress(deflate_runs(data), wbits=-15) == data.tobytes()


@pytest.mark.parametrize("n", [1, 2, 255, 70_000])
def test_deflate_of_noise(n: int) -> None:
    data = np.random.default_rng(n).integers(0, 256, n).astype(np.uint8)
    assert zlib.decompress(deflate_runs(data), wbits=-15) == data.tobytes()


def test_codes_stay_within_fifteen_bits_when_counts_grow_like_fibonacci() -> None:
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    data = np.repeat(np.arange(24), counts).astype(np.uint8)
    np.random.default_rng(0).shuffle(data)
    assert zlib.decompress(deflate_runs(data), wbits=-15) == data.tobytes()


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


def test_bytes_are_known() -> None:
    # Fixes the stream itself: another zlib or NumPy must not change a chart's bytes.
    image = np.zeros((3, 300), np.uint8)
    image[1, 5:9] = 2
    png = encode_png(image, np.array([[0, 0, 0], [1, 2, 3], [255, 255, 255]], np.uint8))
    assert hashlib.sha256(png).hexdigest() == KNOWN_HASH


KNOWN_HASH = "f542e52c0ee83ff8eb74a4ceee03cbab8b7693b85afb0791e855102f2a26f0d2"
