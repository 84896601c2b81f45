"""The heavy frameworks (TensorFlow, Keras, NengoDL), imported late, quietly, and with an error that helps."""
