"""Turn metrics into pages, plots and tables for people."""
