"""CloudStack's set-up helpers (stand-in)."""
