"""How long tests wait for what comes at once: as long as a busy machine may take for it."""

PATIENCE_SECONDS = 300.0
"""What has not come by then does not come. A test that passes waits no longer for it, so that there is nothing to gain
by less; it is less than pytest itself gives a test, so that the test says what has not come."""
