"""Everything on disk becomes a `Dataset` here, one file a format; `registry.load` finds which."""
