"""Settings of the documentation site: ``make docs-site``."""

from __future__ import annotations

import labelseg

project = "labelseg"
author = "the labelseg developers"
release = version = labelseg.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"labelseg {release}"
root_doc = "index"
exclude_patterns = ["*.py"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
# Types of libraries have no pages here.
nitpicky = False
html_show_sourcelink = False
html_copy_source = False
