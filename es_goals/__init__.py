"""Over Achiever: an event-sourced goal service.

events.py, goals.py   what can happen, and the rules that decide whether it does
storage/, service.py  the append-only log, and deciding commands against it
projector.py          folds the log into the read models of `projections/`
http/, app.py         the REST API over both
accounts.py           who may do what; passwords, sessions, tokens are kept beside the log
cli.py, server.py     the command line, and gunicorn
"""

__version__ = "1.3.0"
