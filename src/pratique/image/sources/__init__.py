"""One module a kind of target; each offers SOURCE."""
