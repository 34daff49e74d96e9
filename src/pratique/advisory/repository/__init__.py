"""A database in, signed files for any web server or registry out; and back, believing nothing that does not verify."""
