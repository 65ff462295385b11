"""W&B workspaces as code."""
