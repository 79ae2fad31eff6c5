"""Tests of the query side and of the read models."""
