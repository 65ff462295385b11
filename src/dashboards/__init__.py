"""W&B workspaces, generated from claims."""
