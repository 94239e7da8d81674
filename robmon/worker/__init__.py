"""The heavy process: it loads one model version and assesses it (`python -m robmon.worker`)."""
