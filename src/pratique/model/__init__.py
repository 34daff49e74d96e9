"""The vocabulary that every room speaks: frozen types, extension points and errors. No I/O, no clock."""
