"""A stand-in for Apache CloudStack: packages that keep its contract with an operator, and nothing behind it.

The lab installs them where the real packages can't be had. They are never imported by the tool that is being tested:
the only things that the two share are those that a real CloudStack shares with its operator too.
"""
