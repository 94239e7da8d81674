"""The worker as the daemon holds it: how it is kept, what it is asked, and what its answer, or its end, comes to."""
