"""The errors that the engine answers with one readable sentence. Standard library only."""


class EngineError(Exception):
    """Bad input or an impossible request: the message is one readable sentence for the person who launched the run."""


class Stopped(Exception):  # noqa: N818 - to stop when asked is no error
    """SIGTERM arrived: the method has written its checkpoint and leaves."""
