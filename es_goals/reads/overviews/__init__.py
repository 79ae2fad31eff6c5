"""A user's history seen from further off: below a goal, command by command, over time."""
