"""Perturbations of images: what cameras, encoders and thumbnails do to a picture. NumPy and torch alike."""
