"""The usage server: it owns the usage job for as long as its heartbeat continues."""
