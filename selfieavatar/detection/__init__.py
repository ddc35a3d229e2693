"""Find faces and facial landmarks in images."""
