"""How the documentation is built: python -m sphinx -W -b html docs docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from make_figures import make_figures
from network_lexer import NetworkLexer
from pygments.lexers.special import OutputLexer

from gillespy_lite import __version__

project = "gillespy_lite"
author = "The gillespy_lite developers"
copyright = author
version = release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Signatures show names and defaults; types and units are in the text of each docstring.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# Members are listed by autodoc, each once.
numpydoc_show_class_members = False
# A name in single backticks is mostly an argument: shown as code, and not looked up as a link,
# which would for example take the argument `t` for `gillespy_lite.t`.
default_role = "code"
nitpicky = True
# Calls may be long; one argument a line is easier to read.
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"gillespy_lite {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False


def setup(app):
    """Teach Sphinx the language of networks, and draw the pictures before each build."""
    app.add_lexer("network", NetworkLexer)
    app.add_lexer("mistakes", OutputLexer)
    app.connect("builder-inited", lambda app: make_figures())
    return {"parallel_read_safe": True}
