"""Tests of the rules, which are pure, and of the service that decides by them."""
