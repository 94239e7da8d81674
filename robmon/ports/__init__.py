"""What robmon's two HTTP ports share: the server and its bounds, TLS, bearer tokens, and a log of what was refused."""
