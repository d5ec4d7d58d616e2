"""Faults in the middle of a switch and of its way back, cell by cell of a matrix: `scripts/chaos --help`."""
