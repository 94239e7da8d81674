"""Child processes: how one is started, watched and killed, what is said to it, and how it behaves beside a model."""
