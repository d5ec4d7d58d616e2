"""A workload for tests of an upgrade: domains, accounts, networks and VMs like a production cloud's, made, shown and removed through CloudStack's API."""
