"""The web page in Chromium, against a real service."""
