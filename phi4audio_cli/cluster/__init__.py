"""The same work on many devices and machines, spread by Ray."""
