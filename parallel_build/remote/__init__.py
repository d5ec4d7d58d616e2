"""One server, reached over SSH; nothing of CloudStack."""
