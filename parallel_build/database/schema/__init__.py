"""Definitions of tables and other objects: read, understood, translated between families."""
