"""Mend scripts of older versions and with small faults, changing only what stays equal.  Knows no engine."""
