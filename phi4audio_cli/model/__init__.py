"""The only room that runs the network."""
