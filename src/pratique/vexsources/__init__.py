"""What --vex names in, documents whose trust is settled out: files, folders, addresses, repositories, attestations."""
