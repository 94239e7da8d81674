"""The report of a period as one HTML file that needs no script and no network."""
