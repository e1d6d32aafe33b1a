"""Cost of the cluster driver, and a simulation of many workers (docs/scale.md)."""
