"""Read, crop and write video: the only package that touches PyAV and OpenCV's codecs."""
