"""ONNX tools: export of torch modules, weight files, quantisation, onnxruntime sessions. Serving needs no `onnx`."""
