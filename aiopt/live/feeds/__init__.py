"""Where quotes come from, and how bars are cut from them.

Owns feeds, the cutter of bars and the warm-up from history.  Knows no strategy, venue, node or file of a
session.
"""
