"""Fault injection and kills, to test that jobs resume without loss."""
