"""How a run may end before its end. Standard library only."""


class EngineError(Exception):
    """Bad input or an impossible request: the message is one readable sentence for the person who launched the run."""


class Stopped(Exception):  # noqa: N818 - to stop when asked is no error
    """SIGTERM arrived: the method has written its checkpoint and leaves."""


class Finished(Exception):  # noqa: N818 - no error either
    """What is left of the run is the main process's; this one is not it."""


class LostProcess(Exception):  # noqa: N818 - whose error it was, that process has told
    """Another process of the run is gone, so this one cannot go on."""
