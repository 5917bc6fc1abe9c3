"""A figure that shows itself. Imported where one is drawn: matplotlib is an extra."""

from matplotlib.figure import Figure

from surefoot.report._embed import image
from surefoot.report._files import render

_NOTEBOOK_DPI = 110


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook, and says in words what it shows.

    Attributes:
        alt: what it shows, for those who cannot see it.
        about: recipe, model and the like, which go into the file's metadata.
    """

    alt: str = ""
    about: dict[str, str] | None = None

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return render(self, dpi=_NOTEBOOK_DPI)

    def _repr_html_(self) -> str:
        """The same, with its text for screen readers."""
        return image(self._repr_png_(), self.alt)
