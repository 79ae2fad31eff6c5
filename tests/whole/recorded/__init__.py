"""What version 1.3.0 answered, so that later versions are held to it.

v1.3.0.tar.xz        a log that 1.3.0 wrote, with its read models, sessions, a backup, and the tokens in it
*.jsonl              scenarios: what is asked of a service on that log, a line a request, and what 1.3.0 answered
differences.jsonl    answers that are others on purpose since, and why
history.py           what was done to make the log
exchanges.py         the lines, and how two answers are compared
playing.py           asks
responses.py         what is recorded of an answer
masks.py             what differs each time
record.py            makes the log and the answers anew: it tells how
"""
