"""What is done next, of which version, and where the one served stands: decided without I/O, clock or log."""
