"""What an operator asks over HTTP."""
