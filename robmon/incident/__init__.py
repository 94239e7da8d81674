"""Incidents: what is known of an alert in one archive, and its numbers computed again from there."""
