"""What comes of one good assessment, and what of it is held in memory: no I/O."""
