"""Numerics of noise robustness: noise, trials, bounds, curve, comparison. No I/O; NumPy and torch arrays alike."""
