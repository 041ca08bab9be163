"""Everything on disk becomes a `Dataset` here, one module a format; `registry.load` chooses the module."""
