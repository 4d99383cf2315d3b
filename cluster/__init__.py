"""The distribution layer of aiopt: Ray, and nothing that does not need it."""
