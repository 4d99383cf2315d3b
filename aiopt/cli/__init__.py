"""Command line of the parts that need no cluster.  Knows `aiopt`, never Ray.

Each module exposes one click command or group named `command`; `cluster.cli.main` composes them.
"""
