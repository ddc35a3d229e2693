"""Write avatars as ONNX, and measure how far an export is from its avatar; what reads them is `runtime`."""
