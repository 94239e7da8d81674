"""What a model computes on: processors' threads, a GPU and its share, and how torch's modules are made fast there."""
