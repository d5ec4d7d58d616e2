"""The management server: schema upgrade, cluster, agents, system VMs, templates and the API."""
