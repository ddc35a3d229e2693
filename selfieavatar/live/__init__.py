"""Follow a face before a camera with an avatar, frame by frame."""
