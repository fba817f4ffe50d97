"""ONNX tools without the package `onnx`: graph writer, weight files, onnxruntime sessions."""
