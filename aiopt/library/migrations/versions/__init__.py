"""The versions of the library's tables, one module each.  `aiopt.library.schema` runs them."""
