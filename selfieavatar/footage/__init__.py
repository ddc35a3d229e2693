"""Tell whether a recording is good enough to train on."""
