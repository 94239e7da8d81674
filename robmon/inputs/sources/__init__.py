"""Where inputs come from, besides the requests that are sent to the port: one file a kind of source."""
