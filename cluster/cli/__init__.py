"""The command `aiopt`: its root, and the commands that need a cluster.  Flags and printing only."""
