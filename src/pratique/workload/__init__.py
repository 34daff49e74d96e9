"""Something that asks to run in, what it asks for out: one extractor a format, all into the same `Spec`."""
