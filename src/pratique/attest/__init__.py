"""Statements of others in, what they say and whose key vouches for it out: signatures, in-toto envelopes, VEX documents."""
