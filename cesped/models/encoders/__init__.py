"""Networks that turn an image into a feature map."""
