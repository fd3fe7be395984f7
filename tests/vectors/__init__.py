"""Golden vectors: what a key and a message mean, written once."""
