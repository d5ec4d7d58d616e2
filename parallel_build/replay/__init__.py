"""What users created on the new side, created again on the original after a rollback: a plan first, then the same calls, resumable, each object once."""
