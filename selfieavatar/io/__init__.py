"""Read and write files: atomically, typed, and safe against hostile content."""
