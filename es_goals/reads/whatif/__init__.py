"""Trees that no log has: what a command would make of the goals, and what a draft would."""
