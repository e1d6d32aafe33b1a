"""The pipeline from recordings to events, the same for every task."""
