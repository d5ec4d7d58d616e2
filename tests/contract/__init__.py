"""The stand-in CloudStack against the real one: transcripts, replies, and the ways in which a start fails."""
