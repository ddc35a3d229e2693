"""Read and write what other programs and data sets use."""
