"""An MLflow registry as its client asks it: `registry.py` says what is there, `download.py` gets a version's files.

What imports MLflow here runs in the fetch process or in a library user's own: it needs the registry's credentials. The
daemon asks by `registry_access.py`, which needs none of it.
"""
