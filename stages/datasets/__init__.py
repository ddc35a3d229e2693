"""Data sets as their authors hand them out: what lies where, as rows of the sheet of clips."""
