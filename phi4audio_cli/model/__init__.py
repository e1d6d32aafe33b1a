"""The engine that runs the network: loading, scheduling, decoding, word times."""
