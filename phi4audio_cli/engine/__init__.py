"""Jobs in, events out: the one way of the data, for every task."""
