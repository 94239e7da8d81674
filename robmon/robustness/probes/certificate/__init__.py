"""Shares of rows that provably keep their class within a radius, by what can be read of a torch module."""
