"""The error that people can cause and mend."""


class UserError(ValueError):
    """One sentence: the flag or file, what was found, what was expected, what to do. Ends the program with exit code 2."""
