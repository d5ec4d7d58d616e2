"""One module for each part of a cloud that users touch; each test is one line of what must work after an upgrade."""
