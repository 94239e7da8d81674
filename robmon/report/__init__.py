"""What people read and look at: words, tables and pictures of results."""
