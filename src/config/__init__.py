"""Turn the overrides of a command line into the checked configs of all cells."""
