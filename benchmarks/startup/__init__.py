"""Time from process start to the first chunk in the network."""
