"""The short-lived process that reads files of production inputs: `python -m robmon.reader`."""
