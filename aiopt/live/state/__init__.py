"""What a session keeps on disk, in one SQLite file.  Owns that file; knows no strategy, venue or node."""
