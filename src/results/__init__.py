"""The files of cells, where they come from, and their copy at W&B."""
