"""Files of production inputs, read as they grow: JSON lines, CSV and Parquet, from any file system that fsspec knows.

This is the side of the reading process, which is apart from the daemon because its libraries are heavy, its credentials
are nobody else's business, and a damaged file may take it down.
"""
