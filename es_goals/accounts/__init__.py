"""Accounts: who is who, what they are called, how they sign in, and what changes of them record."""
