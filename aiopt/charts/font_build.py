"""Draw the glyphs of `font_data.py` from DejaVu Sans; run by hand when sizes or characters change.

Owns nothing at run time.  Needs Pillow and the two DejaVu files, which the product does not:
``python -m aiopt.charts.font_build DejaVuSans.ttf DejaVuSans-Bold.ttf > font_data.py``
"""

from __future__ import annotations

import base64
import importlib
import sys
import textwrap
import zlib
from typing import Any

import numpy as np

CHARACTERS = "".join(map(chr, range(32, 127))) + "·–−×±°…"
SIZES = {"REGULAR": 13, "BOLD": 17}
LEVELS = 5

_NOTICE = '''"""Glyph bitmaps of the charts.  Written by `font_build.py`; do not edit.  Owns data only.

Drawn from DejaVu Sans under its licence, `FONT-LICENSE.txt`.  Per face: height in pixels, widths of
the characters, and all glyphs side by side as ink levels 0 to 5, row by row, compressed by zlib, in base 85.
"""

# fmt: off
'''


def main(regular: str, bold: str) -> None:
    """Print the module."""
    out = [_NOTICE, f"CHARACTERS = (\n    {CHARACTERS!r}\n)\n"]
    for (name, size), path in zip(SIZES.items(), (regular, bold), strict=True):
        height, widths, sheet = _draw(path, size)
        text = base64.b85encode(zlib.compress(sheet.tobytes(), 9)).decode()
        out.append(f"\n{name}_HEIGHT = {height}\n{name}_WIDTHS = (\n")
        out += [f"    {line}\n" for line in textwrap.wrap("".join(f"{w}, " for w in widths), 104)]
        out.append(f")\n{name}_SHEET = (\n")
        out += [f'    "{text[at : at + 100]}"\n' for at in range(0, len(text), 100)]
        out.append(")\n")
    sys.stdout.write("".join(out))


def _draw(path: str, size: int) -> tuple[int, list[int], Any]:
    names = ("PIL.Image", "PIL.ImageDraw", "PIL.ImageFont")
    image, draw, fonts = (importlib.import_module(name) for name in names)
    font = fonts.truetype(path, size, layout_engine=fonts.Layout.BASIC)
    ascent, descent = font.getmetrics()
    cells = []
    for character in CHARACTERS:
        left, _, right, _ = font.getbbox(character)
        width = max(round(font.getlength(character)), right) - min(left, 0)
        cell = image.new("L", (width, ascent + descent), 0)
        draw.Draw(cell).text((-min(left, 0), 0), character, fill=255, font=font)
        cells.append((np.asarray(cell).astype(int) * LEVELS + 127) // 255)
    sheet = np.concatenate(cells, axis=1).astype(np.uint8)
    rows = np.flatnonzero(sheet.any(axis=1))
    return int(rows[-1] - rows[0] + 1), [cell.shape[1] for cell in cells], sheet[rows[0] : rows[-1] + 1]


if __name__ == "__main__":
    main(*sys.argv[1:3])
