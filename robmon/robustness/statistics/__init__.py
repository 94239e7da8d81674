"""Bounds, tests and certificates, as functions of arrays of errors alone."""
