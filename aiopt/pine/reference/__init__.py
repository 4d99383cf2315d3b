"""What Pine Script offers, as data: the table of built-ins with signatures, types, versions and sources.

Knows no script: `aiopt.pine.checking` applies it.
"""
