"""Servers that are there already: what is asked of them, and how they are given back."""
