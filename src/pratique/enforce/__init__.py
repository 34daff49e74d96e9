"""The gates: each a gatekeeper's protocol around the one decision."""
