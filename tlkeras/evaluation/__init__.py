"""Pure functions of predictions and tables; imports no TensorFlow."""
