"""The command line: ``lossary list``, ``show``, ``explain``, ``check`` and ``compare``."""
