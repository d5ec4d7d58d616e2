"""A cloud checked by its API alone: no stack, no login to a server, and only commands that list."""
