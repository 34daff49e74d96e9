"""What checks found in, rewrites that mend it out: exact edits of the text, those that change nothing else marked as safe."""
