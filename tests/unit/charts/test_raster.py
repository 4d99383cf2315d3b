import math

import numpy as np
import pytest

from aiopt.charts.font import BOLD, REGULAR, set_text
from aiopt.charts.raster import Box, Canvas
from aiopt.charts.theme import FULL, LINE_INKS, SURFACES, Colour, mixing_table, theme

INK = LINE_INKS[0]
BOX = Box(5, 54, 5, 94)


def levels(canvas: Canvas) -> np.ndarray:
    """Return the share of INK over background of each pixel, in fifths."""
    table = mixing_table(INK)[:, Colour.BACKGROUND].tolist()
    assert len(set(table)) == FULL + 1
    lookup = {index: level for level, index in enumerate(table)}
    return np.vectorize(lookup.__getitem__)(canvas.pixels)


@pytest.mark.parametrize("seed", range(6))
def test_lines_equal_the_distance_to_the_nearest_segment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.choice(np.arange(0, 100), 8, replace=False)).astype(float)
    y = rng.uniform(-20, 80, 8)
    canvas = Canvas(100, 60)
    canvas.polyline(BOX, x, y, INK, width=1.6)
    expected = np.zeros((60, 100), int)
    for row in range(BOX.top, BOX.bottom + 1):
        for column in range(BOX.left, BOX.right + 1):
            distance = min(
                to_segment((column, row), (x[i], y[i]), (x[i + 1], y[i + 1])) for i in range(x.size - 1)
            )
            expected[row, column] = math.floor(min(max(1.3 - distance, 0), 1) * FULL + 0.5)
    np.testing.assert_array_equal(levels(canvas), expected)


def to_segment(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = min(max(((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy), 0), 1)
    return math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)


def test_nan_interrupts_a_line_and_leaves_a_point_as_dot() -> None:
    canvas = Canvas(100, 60)
    y = np.array([np.nan, 20.0, 20.0, np.nan, 40.0, np.nan])
    canvas.polyline(BOX, np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]), y, INK, width=1.6)
    shown = levels(canvas)
    assert shown[20, 20:31].tolist() == [FULL] * 11
    assert shown[40, 50] == FULL
    assert (shown[:, 33:48] == 0).all()
    assert (shown[:, 53:] == 0).all()


def test_a_line_far_outside_costs_nothing_and_leaves_nothing_outside() -> None:
    canvas = Canvas(100, 60)
    canvas.polyline(BOX, np.array([10.0, 20.0]), np.array([-1e9, 1e9]), INK, width=1.6)
    assert not levels(canvas)[:5].any()
    assert levels(canvas)[30].any()


def test_rectangles_are_clipped_to_their_box() -> None:
    canvas = Canvas(100, 60)
    columns = ([2, 50, 93, 60], [6, 52, 99, 61])
    rows = ([0, 10, 50, 70], [7, 12, 80, 90])
    canvas.columns(BOX, columns, rows, [1, 2, 3, 4])
    expected = np.zeros((60, 100), np.uint8)
    expected[5:8, 5:7] = 1
    expected[10:13, 50:53] = 2
    expected[50:55, 93:95] = 3
    np.testing.assert_array_equal(canvas.pixels, expected)
    canvas.columns(BOX, ([20], [22]), ([-9], [-3]), [1])
    np.testing.assert_array_equal(canvas.pixels, expected)


@pytest.mark.parametrize("name", ["dark", "light"])
def test_mixed_colours_are_what_their_levels_say(name: str) -> None:
    palette = theme(name).palette.astype(int)
    for ink in LINE_INKS:
        for surface in SURFACES:
            for level in range(FULL + 1):
                mixed = palette[mixing_table(ink)[level, surface]]
                exact = (palette[ink] * level + palette[surface] * (FULL - level)) / FULL
                assert np.abs(mixed - exact).max() <= 0.5


@pytest.mark.parametrize("name", ["dark", "light"])
def test_text_lines_and_candles_stand_out_from_the_background(name: str) -> None:
    palette = theme(name).palette
    minimum = {Colour.TEXT: 10.0, Colour.MUTED: 4.5, Colour.UP: 3.0, Colour.DOWN: 3.0}
    for ink in LINE_INKS:
        minimum[ink] = 3.0
    for colour, least in minimum.items():
        assert contrast(palette[colour], palette[Colour.BACKGROUND]) >= least, colour


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Contrast ratio of WCAG 2."""

    def luminance(rgb: np.ndarray) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (rgb / 255).tolist()]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("face", [REGULAR, BOLD])
def test_glyphs_are_all_there_distinct_and_digits_equally_wide(face) -> None:
    text = "".join(map(chr, range(33, 127)))
    shapes = {face.glyph(c).tobytes() + bytes([face.glyph(c).shape[1]]) for c in text}
    # In this face `I` and `|` … may look alike, most must not.
    assert len(shapes) >= 92
    assert len({face.glyph(digit).shape[1] for digit in "0123456789"}) == 1
    assert face.width("1.2345") == set_text(face, "1.2345").shape[1]
    np.testing.assert_array_equal(face.glyph("é"), face.glyph("?"))


def test_text_is_cut_off_at_the_edge() -> None:
    canvas = Canvas(40, 20)
    canvas.text(15, 30, "Wide text", REGULAR, Colour.TEXT)
    assert canvas.pixels.any()
