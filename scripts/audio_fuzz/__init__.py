"""Damaged recordings by the thousand, and what decoding makes of them."""
