"""Build, launch and run cells."""
