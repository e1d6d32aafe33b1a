"""What is asked of the model, and how its answers become one result."""
