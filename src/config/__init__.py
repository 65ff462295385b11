"""From words on a command line to the checked configs of all cells."""
