"""How the site is made: what mkdocs, mkdocstrings and Material for MkDocs do not do themselves."""
