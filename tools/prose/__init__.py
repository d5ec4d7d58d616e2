"""The prose check: `python -m tools.prose` reads docs, docstrings, comments, messages and names, and refuses what an operator reads twice."""
