"""What a storage cannot do, one class a reason."""


class StorageError(Exception):
    """The storage cannot do what was asked; the message says why in one sentence."""


class Unavailable(StorageError):
    """The database itself fails: the transaction, if there is one, is over."""


class Unusable(Unavailable):
    """The database cannot be opened: of another kind, damaged, too new, or its engine too old."""


class StorageFull(Unavailable):
    """No space is left. Nothing of the transaction was stored."""


class StorageFailed(Unavailable):
    """Reading or writing failed before the commit. Nothing of the transaction was stored."""


class OutcomeUnknown(Unavailable):
    """The commit itself failed: what it held may or may not be on disk. A repeat with the same key settles it."""


class Interrupted(StorageError):
    """The work had a deadline, and was stopped there; it recorded nothing."""


class Conflict(StorageError):
    """The stream is not at the version that the append expected."""


class SubjectTaken(StorageError):
    """A goal was created under this id before. `subject` is the id."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"expected an id that no goal ever had; found {subject}")
        self.subject = subject


class GenerationGone(StorageError):
    """The generation was replaced meanwhile; who looks again finds the one that serves."""


class RowRefused(StorageError):
    """A read model's row does not fit its table."""


class BatchConflict(StorageError):
    """One of several appends written together does not fit; one by one, it turns out which."""


class UserNameTaken(StorageError):
    """A user has this name already, compared without case."""


class CredentialTaken(StorageError):
    """There is such a credential already, nobody has the user's id, or it is no text that can be stored."""
