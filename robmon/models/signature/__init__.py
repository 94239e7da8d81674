"""What a model takes, and rows of requests gathered into it: a file for each way in which a model says so."""
