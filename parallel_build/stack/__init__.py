"""A stack read or driven without a program."""
