"""Verbs over more than one room, which steps and commands are made of."""
