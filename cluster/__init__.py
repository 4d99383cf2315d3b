"""The distribution layer of aiopt: the only package that imports Ray."""
