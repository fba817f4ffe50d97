"""ONNX without its package: graphs written as bytes, weights in safetensors files, sessions of onnxruntime."""
