"""Replication: from the original to the new source, and between the new pair."""
