"""vSphere machines against a simulated vCenter: the program's graph, look-ups, diffs and errors; never a guest that boots."""
