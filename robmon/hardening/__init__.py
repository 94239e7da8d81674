"""Stability training: a candidate version that moves less under noise, and the verdict on it. Needs torch."""
