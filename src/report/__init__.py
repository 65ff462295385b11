"""Pages, tables and figures from results and verdicts."""
