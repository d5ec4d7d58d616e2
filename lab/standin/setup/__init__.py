"""The commands cloudstack-setup-databases and cloudstack-setup-management."""
