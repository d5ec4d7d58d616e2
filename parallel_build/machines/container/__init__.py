"""Machines that are containers on this computer, for the lab and the tests."""
