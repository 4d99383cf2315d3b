"""The numbers that a scan's reader and its caller exchange.  Owns their names; imports nothing."""

from __future__ import annotations

OK, CUT, BAD_CODE, OVERFULL, LEFT_OVER, BAD_RESTART, OUT_OF_RANGE = range(7)
"""How a scan ended."""

POSITION, BITS, COUNT, RUN = range(4)
"""Places of a scan's state: next byte, bits read ahead, how many, blocks of an end-of-band run to come."""

C_DC, C_AC, C_ACROSS, C_DOWN, C_STRIDE, C_BASE, C_QUANTUM = range(7)
"""Columns of a scan's components."""

BASELINE, DC_FIRST, DC_REFINE, AC_FIRST, AC_REFINE = range(5)
"""Kinds of scan."""

MAX_DC_SIZE, MAX_AC_SIZE = 11, 10
"""Longest numbers of 8-bit pictures."""
MAX_DC = 2048
"""Twice what the mean of a block can be, in its own units."""
