"""Where a trained network comes from: an ONNX file, a Keras model, an archive of our own."""
