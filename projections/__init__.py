"""The read models: what readers see, folded from the log.

A read model is one module here and one name in ALL. It is pure: no SQL, no HTTP, no clock, and of
`es_goals` it imports `events` only. It has

REVISION    a number, raised when the fold changes its answer: the next start folds the log anew
Row         a msgspec Struct, which is its table: the fields (str or int, or None besides) are the columns;
            one of them is `user`, the id of the user whose goals the event is about: only those are folded
KEY         the fields that make a row unique; `user` comes first, so that a user's rows lie together
INDEXES     further indexes, each a tuple of fields
key(recorded)        the key of the one row that an event changes, or None
fold(row, recorded)  that row after the event; row is None where there was none, and so is the answer
                     where there is none any more

The same fold serves live reads, rebuilds, answers as of the past, and verification. A fold that raises stops its
read model at that event until the code is mended; nothing is skipped.
"""

from projections import activity, goal_tree

ALL = (goal_tree, activity)
