"""The providers of models: one file each, imported when used."""
