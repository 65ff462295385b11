"""Files of cells, their provenance and their copy at W&B."""
