"""Read settings and the sheet of clips; choose devices and weights."""
