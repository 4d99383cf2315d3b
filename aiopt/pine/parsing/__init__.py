"""Pine Script to a typed tree and back: lexer, parser, visitor, unparser.  Knows no meaning of a name."""
