"""Tests of what a storage promises, on every engine."""
