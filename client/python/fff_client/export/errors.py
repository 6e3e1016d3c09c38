"""What exporting raises."""


class ExportError(ValueError):
    """The file, module or object cannot be exported; the message says why."""
