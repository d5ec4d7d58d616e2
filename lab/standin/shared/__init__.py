"""What the management server, the usage server, the agent and the setup commands have in common (cloudstack-common)."""
