"""Find the clips of published data sets and write rows of the sheet for them."""
