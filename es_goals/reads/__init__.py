"""The query side: questions in, answers out. No HTTP: the command line uses it too."""
