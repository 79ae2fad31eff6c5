"""Checks and copies of a log."""
