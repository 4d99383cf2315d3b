"""Folder put on PYTHONPATH so that every child process imports `sitecustomize` from it."""
