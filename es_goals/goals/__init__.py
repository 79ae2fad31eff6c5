"""The rules of goals: commands, decide, evolve. Pure: no clock, no SQL, no HTTP."""
