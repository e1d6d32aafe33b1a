"""Speed of phi4audio next to other ways to run the model, on the same clips and weights."""
