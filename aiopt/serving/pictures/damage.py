"""What is wrong with a picture file, without its place in a request.  Owns the form of that error."""

from __future__ import annotations

from aiopt.errors import InputError


class DamagedPictureError(InputError):
    """A file is no whole picture, or of a kind that is not read.

    Parameters
    ----------
    what : str
        What is wrong, as a clause.
    remedy : str
        What to do.
    """

    def __init__(self, what: str, remedy: str = "Save the picture again, as PNG or JPEG.") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"A picture file must be whole, but {what}. {remedy}")
