"""Which version is served, and its files: the registry, or the model's endpoint, as the daemon asks it."""
