"""The light process: it takes inputs in, decides what is assessed when, and publishes the results."""
