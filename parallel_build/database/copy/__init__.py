"""Copying the databases to the new server, by a worker that runs there."""
