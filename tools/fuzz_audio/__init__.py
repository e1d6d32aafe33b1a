"""Decode damaged recordings and classify the outcomes."""
