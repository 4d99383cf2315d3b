"""The stamps of a file: which unit or layout they are in is proved by all its rows, and how they are read."""
