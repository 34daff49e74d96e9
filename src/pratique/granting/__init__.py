"""What people and gates do with grants, put together: the rules are `grant`'s, the keeping is `store`'s, the order is here.

Nothing is allowed before the ledger has it; what takes a privilege away is done even if the ledger cannot be written, and is
written as soon as it can be.
"""
