"""The settings, section by section: each typed and described, with its unit, and what goes together within a section.

The descriptions are the reference documentation: `robmon run --help` and the manual's table are made from them.
"""
