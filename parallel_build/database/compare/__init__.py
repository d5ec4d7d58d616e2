"""Comparing the two sides: tables, objects, and what CloudStack means by them."""
