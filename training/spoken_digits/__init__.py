"""Training of the demo checkpoint: data, network, the two phases and their evaluation."""
