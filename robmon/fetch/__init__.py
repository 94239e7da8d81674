"""The short process that asks the registry and downloads a model version (`python -m robmon.fetch`)."""
