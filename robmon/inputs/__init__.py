"""Production inputs: the receiver, the bounded sample, the codecs and files."""
