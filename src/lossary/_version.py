"""The version of the package, read by the build and by whatever names it."""

__version__ = "0.1.0"
