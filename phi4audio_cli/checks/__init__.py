"""What `phi4audio doctor` looks at: whether a job would run here, and what to do where not."""
