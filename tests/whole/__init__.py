"""Tests of the whole: a real service and the real command line, seen from outside."""
