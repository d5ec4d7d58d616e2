"""The plan of an upgrade: the path to the target, what it needs, what its own package asks for and does, and which known faults would hit this cloud."""
