"""A whole registry at once: which versions, on which inputs, one killable process a version, one result a version."""
