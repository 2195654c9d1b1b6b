"""How Sphinx builds the site: see `docs.sphinx.__main__`."""

from importlib.metadata import version as version_of

project = "damon-core"
author = "the authors of damon-core"
version = release = version_of("damon-core")
root_doc = "index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.sphinx.references"]

# Pages are plain Markdown, as forges show it.
myst_heading_anchors = 6
highlight_language = "none"
# Quotes in help texts are those of TOML and shells.
smartquotes = False
# Names in docstrings, `like this`.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"damon-core {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
# For editors, under an address that stays.
html_extra_path = ["../damon.schema.json"]
# The pages are made of others, which are on the forge.
html_copy_source = False
