"""Configuration of the documentation builder."""

project = "pratique"
author = "the pratique authors"
copyright = "the pratique authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "pratique"
myst_heading_anchors = 3
