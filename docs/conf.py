"""The documentation: ``make docs`` builds it, and warnings are errors."""

from __future__ import annotations

import django_confiture

project = "django-confiture"
author = "The django-confiture maintainers"
version = release = django_confiture.__version__

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = f"django-confiture {release}"

# Headings are link targets, named as GitHub names them.
myst_heading_anchors = 3
# GitHub draws such a block, too.
myst_fence_as_directive = ["mermaid"]
nitpicky = True

smartquotes = False  # "--clone" is a flag, not a dash
