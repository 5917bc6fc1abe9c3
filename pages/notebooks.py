"""The notebooks as pages."""


def pages() -> dict[str, str]:
    """Markdown by path."""
    return {}
