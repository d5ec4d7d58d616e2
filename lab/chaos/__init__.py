"""Faults in the middle of a switch and of its rollback, cell by cell of a matrix: `scripts/chaos --help`."""
