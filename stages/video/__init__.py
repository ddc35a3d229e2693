"""Reading, cropping and writing of video: the only package that touches PyAV and OpenCV's codecs."""
