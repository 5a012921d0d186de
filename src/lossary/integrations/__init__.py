"""Adapters that give the losses of the catalogue to other frameworks; each framework is imported where it is used."""
