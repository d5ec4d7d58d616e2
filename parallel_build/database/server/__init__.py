"""One database server: what it is, its settings, accounts and certificates."""
