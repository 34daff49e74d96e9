"""Editors in, what they show out: the checks of files as a language server, over standard input and output."""
