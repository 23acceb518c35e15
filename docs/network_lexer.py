"""Colours for networks in the pages; the words are those of the language itself."""

from __future__ import annotations

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, Text

from gillespy_lite.dsl import KEYWORDS
from gillespy_lite.rate_laws import FUNCTIONS

__all__ = ["NetworkLexer"]


class NetworkLexer(RegexLexer):
    """Splits a network into coloured words; it accepts mistakes, which pages show too."""

    name = "gillespy_lite network"
    aliases: ClassVar = ["network"]

    tokens: ClassVar = {
        "root": [
            (r"\s+", Text),
            (r"#.*", Comment.Single),
            (words(tuple(KEYWORDS), prefix=r"\b", suffix=r"\b"), Keyword.Declaration),
            # Words that mean something only where they stand, and may be names elsewhere.
            (r"(?:at|when)(?=\s+(?!->|=>|<->|[+@:]))", Keyword),
            (r"compartment(?=\s+[^\W\d])", Keyword.Declaration),
            (
                r"(,)(\s*)(after|priority|not persistent|initially (?:true|false)"
                r"|values at (?:trigger|execution))\b(?=[^=]*:)",
                bygroups(Punctuation, Text, Keyword),
            ),
            (r"delay(?=\s+[\w(])|consuming on \w+|unlimited(?=\s*$)", Keyword),
            (words(("and", "or", "not"), prefix=r"\b", suffix=r"\b"), Operator.Word),
            (words(tuple(FUNCTIONS), prefix=r"\b", suffix=r"(?=\s*\()"), Name.Builtin),
            (r"<->|->|=>", Keyword),
            (r"@", Keyword),
            (r"[^\W\d]\w*(?=\s*:)", Name.Label),
            (r"[^\W\d]\w*", Name),
            (r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", Number),
            (r"[-+*/^<>=!∅]+", Operator),
            (r".", Punctuation),
        ]
    }
