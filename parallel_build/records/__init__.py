"""What is on record: the window, what was prepared, what a seed or a rehearsal found."""
