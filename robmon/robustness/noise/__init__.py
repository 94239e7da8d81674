"""Noise models: what is drawn, how a level scales it, and what it leaves alone."""
