"""What the papers claim, in numbers, and the verdict on each claim from the rows of the experiments."""
