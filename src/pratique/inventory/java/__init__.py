"""Java archives in, Maven coordinates out: table of contents, metadata files, names."""
