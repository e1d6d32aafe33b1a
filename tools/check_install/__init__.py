"""Installs the wheel as users do, with the newest and the lowest dependencies, and uses it."""
