"""Pages, tables and figures of results and verdicts."""
