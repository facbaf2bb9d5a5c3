"""What the networks of several engines are made of."""
