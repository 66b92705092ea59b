"""The errors of the bench: each is one readable line."""


class MissingError(Exception):
    """Something that the bench needs is not there: data, a model, a peer, a GPU."""


class DisagreementError(Exception):
    """The arms do not compute the same; the bench does not go on."""


class ArmError(Exception):
    """An arm ended by itself: its last words, and where the rest is."""
