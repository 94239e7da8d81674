"""robmon command line."""
