"""Over Achiever: an event-sourced goal service.

events.py, goals/        what can happen, and the rules that decide whether it does
storage/, service.py     the append-only log, and deciding commands against it
projector.py, reads/     folds the log into the read models of `projections/`; answers questions about them
http/, cli/, accounts/   the REST API and the command line over both; who may do what
worker.py, app.py        a serving process and its routes, on gunicorn by server.py; upkeep/ verifies and backs up
"""

__version__ = "1.3.0"
