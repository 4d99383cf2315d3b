"""The face of aiopt in Python: what ``import aiopt as ao`` offers in a notebook or a script.

One module per noun.  Each takes names, paths or objects, calls the package that does the work and returns an
object that shows itself: a short repr, a table or picture in a notebook, and export to Polars, pandas and
Arrow.  Owns no rule of ticks, bars, strategies or rankings.
"""
